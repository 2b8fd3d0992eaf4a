"""One story from an empty folder to text and pictures, told by commands alone."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from boggers.cli.main import main
from boggers.files import read_json

from .conftest import TINY, Boggers

EVAL_KEYS = {
    "val_ce",
    "val_ppl",
    "val_bpb",
    "val_tokens",
    "params",
    "params_embedding",
    "train_tokens",
    "seconds",
    "steps",
    "baselines",
}


def test_train_and_resume(boggers: Boggers, capsys: pytest.CaptureFixture[str]) -> None:
    trained = boggers(*TINY, "--out", "run")
    assert trained.returncode == 0, trained.stderr
    for word in ("device", "tokenizer", "split", "parameters", "held-out", "Sample 3", "eval.json"):
        assert word in trained.stdout
    assert len(list(Path("run/samples").iterdir())) == 3
    assert read_json(Path("run/eval.json"))["steps"] == 6

    more = ["--max-steps", "9", "--eval-tokens", "20", "--resume", "auto"]
    assert main([*TINY, *more, "--out", "run"]) == 0
    said = capsys.readouterr().out
    assert "continued at step 6" in said
    assert "step 9: held-out (first 20 tokens)" in said
    assert read_json(Path("run/eval.json"))["val_tokens"] > 20
    assert read_json(Path("run/eval.json"))["steps"] == 9


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_after_the_last_step_leaves_a_trained_run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    def evaluate(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr("boggers.cli.train.evaluate", evaluate)
    assert main([*TINY, "--out", "run"]) == code
    assert "training is done and saved in run. Measure it with: boggers eval run" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not Path("run/samples").exists()
    assert main(["eval", "run", "--quick", "--device", "cpu"]) == 0


def test_generate_repeats_itself_only_under_the_same_seed(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(seed: int, prompt: str = "The fox") -> str:
        capsys.readouterr()
        argv = ["generate", str(finished), "--max-tokens", "12", "--device", "cpu"]
        assert main([*argv, "--seed", str(seed), "--prompt", prompt]) == 0
        return capsys.readouterr().out

    first = said(3)
    assert first.startswith("The fox")
    assert len(first) > len("The fox\n")
    assert said(3) == first
    assert said(4) != first
    monkeypatch.setattr(sys, "stdin", io.StringIO("The fox"))
    assert said(3, "-") == first


def test_eval_says_again_what_training_said(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_json(finished / "eval.json")
    assert main(["eval", str(finished), "--json", "numbers.json"]) == 0
    said = capsys.readouterr().out
    assert "bits per byte" in said
    assert "trigram" in said
    numbers = read_json(Path("numbers.json"))
    assert numbers.keys() >= EVAL_KEYS
    assert numbers["val_bpb"] == before["val_bpb"]
    assert 0 < numbers["val_bpb"] < 8.5


def test_another_text_is_measured_and_the_runs_own_numbers_stay(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(finished, tmp_path / "copy")
    before = (run / "eval.json").read_bytes()
    Path("other.txt").write_text("A quite different text, all about whales and the sea. " * 30)
    assert main(["eval", str(run), "--corpus", "other.txt", "--json", "other.json"]) == 0
    assert (run / "eval.json").read_bytes() == before
    assert read_json(Path("other.json"))["val_tokens"] > 500
    assert "bits per byte" in capsys.readouterr().out


def test_pictures_are_drawn(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["plot", str(finished)]) == 0
    drawn = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert drawn
    assert all(path.stat().st_size > 1000 for path in drawn)


def test_without_matplotlib_training_says_which_extra_draws(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from boggers.cli import train

    monkeypatch.setattr(train.importlib.util, "find_spec", lambda name: None)
    train.draw(finished, Console())
    assert "boggers[plots]" in capsys.readouterr().out


def test_generation_streams_into_a_closed_pipe_quietly(finished: Path) -> None:
    command = f"boggers generate {finished} --prompt The --max-tokens 20 | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_the_doctor_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    for check in ("environment", "relaxation", "training step", "generation", "disk"):
        assert any(line.startswith("ok ") and check in line for line in said.splitlines())
    assert not any(line.startswith("BAD") for line in said.splitlines())


def test_an_interrupted_training_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "tiny", "--device", "cpu", "--out", "run"]
    command = [sys.executable, "-m", "boggers", *argv, "--max-steps", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("step "):
                child.send_signal(signal.SIGINT)
                break
        said = child.stdout.read()
    assert child.returncode == 130
    assert "boggers train tiny --device cpu --out run" in said
    assert said.rstrip().endswith("--resume auto")
    steps = [int(folder.name.removeprefix("step-")) for folder in Path("run/checkpoints").iterdir()]
    assert main([*argv, "--max-steps", str(max(steps) + 2), "--resume", "auto"]) == 0
    assert f"continued at step {max(steps):,}" in capsys.readouterr().out
