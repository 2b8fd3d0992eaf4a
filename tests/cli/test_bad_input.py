"""Everything a person can get wrong: one sentence, exit code 2, and nothing lost."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from boggers.cli.main import main
from boggers.files import MANIFEST, checksum, read_json, write_json

from .conftest import TINY, Refused

PROSE = "The fox sees a red hill and runs to it while the rain falls. "


def text(content: str | bytes) -> str:
    path = Path("corpus.txt")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def train(refused: Refused, *argv: str) -> str:
    """What a run of the recipe tiny with these flags is refused with; it leaves no folder."""
    said = refused(*TINY, "--out", "run", "--cache-dir", "cache", *argv)
    assert not Path("run").exists()
    return said


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): checksum(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").iterdir())[-1]


@pytest.fixture
def run_copy(finished: Path, tmp_path: Path) -> Path:
    """A finished run that may be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_no_corpus(refused: Refused) -> None:
    assert "--corpus" in refused("train", "--out", "run", "--max-steps", "1")
    assert not Path("run").exists()


def test_a_missing_path(refused: Refused) -> None:
    said = train(refused, "--corpus", "absent.txt")
    assert "absent.txt" in said


def test_an_empty_file(refused: Refused) -> None:
    said = train(refused, "--corpus", text(""))
    assert "corpus.txt" in said


def test_a_binary_file(refused: Refused) -> None:
    said = train(refused, "--corpus", text(bytes(range(256)) * 40))
    assert "corpus.txt" in said


def test_a_file_of_three_tokens(refused: Refused) -> None:
    said = train(refused, "--corpus", text("fox"))
    assert "3" in said


def test_a_window_larger_than_the_corpus(refused: Refused) -> None:
    said = train(refused, "--corpus", text(PROSE), "--window-size", "500")
    assert "500" in said


@pytest.mark.parametrize("vocabulary", ["60000", "4096"])
def test_a_vocabulary_above_what_the_tokenizer_can_have(refused: Refused, vocabulary: str) -> None:
    corpus = text(PROSE * 50)  # too few words for 4096 pieces; 60000 is above any limit
    said = train(refused, "--corpus", corpus, "--tokenizer", "bpe", "--vocab-size", vocabulary)
    assert "--vocab-size" in said
    assert vocabulary in said.replace(",", "")


def test_a_width_that_the_waves_do_not_divide(refused: Refused) -> None:
    said = train(refused, "--state-dim", "130", "--num-waves", "4")
    assert "--state-dim must be divisible by --num-waves" in said


def test_an_unknown_flag(refused: Refused) -> None:
    assert "Did you mean --window-size?" in train(refused, "--window-sise", "4")
    assert "--zzzz" in train(refused, "--zzzz")


def test_a_malformed_line_is_named(refused: Refused) -> None:
    Path("corpus.jsonl").write_text('{"text": "good"}\n{"text": \n')
    said = train(refused, "--corpus", "corpus.jsonl")
    assert "corpus.jsonl" in said
    assert "2" in said


def test_a_folder_that_holds_a_run_is_not_overwritten(refused: Refused, run_copy: Path) -> None:
    before = snapshot(run_copy)
    assert "--resume auto" in refused(*TINY, "--out", str(run_copy))
    assert snapshot(run_copy) == before


@pytest.mark.parametrize("verb", [("eval",), ("generate", "--prompt", "The"), ("plot",)])
def test_a_folder_without_a_run(refused: Refused, verb: tuple[str, ...]) -> None:
    assert "absent" in refused(verb[0], "absent", *verb[1:])


@pytest.mark.parametrize("verb", [("eval",), ("generate", "--prompt", "The")])
def test_a_truncated_checkpoint(refused: Refused, run_copy: Path, verb: tuple[str, ...]) -> None:
    for checkpoint in (run_copy / "checkpoints").iterdir():
        weights = checkpoint / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:500])
    said = refused(verb[0], str(run_copy), *verb[1:])
    assert "model.safetensors" in said


def test_a_truncated_checkpoint_is_not_trained_over(refused: Refused, run_copy: Path) -> None:
    for checkpoint in (run_copy / "checkpoints").iterdir():
        (checkpoint / "model.safetensors").write_bytes(b"")
    before = snapshot(run_copy)
    said = refused(*TINY, "--max-steps", "9", "--out", str(run_copy), "--resume", "auto")
    assert "model.safetensors" in said
    assert snapshot(run_copy) == before


@pytest.mark.parametrize("verb", [("eval",), ("generate", "--prompt", "The")])
def test_a_checkpoint_of_another_architecture(
    refused: Refused, run_copy: Path, verb: tuple[str, ...]
) -> None:
    for checkpoint in (run_copy / "checkpoints").iterdir():
        shape = checkpoint / "model.json"
        write_json(shape, {**read_json(shape), "architecture": "crystal"})
        sums = read_json(checkpoint / MANIFEST)
        write_json(checkpoint / MANIFEST, {**sums, shape.name: checksum(shape)})
    said = refused(verb[0], str(run_copy), *verb[1:])
    assert "crystal" in said
    assert "architecture" in said


def test_a_run_of_another_shape_is_not_continued(refused: Refused, run_copy: Path) -> None:
    before = snapshot(run_copy / "checkpoints")
    argv = ("--max-steps", "9", "--out", str(run_copy), "--resume", "auto", "--state-dim", "64")
    refused(*TINY, *argv)
    assert snapshot(run_copy / "checkpoints") == before


@pytest.fixture
def small_files(run_copy: Path) -> Iterator[None]:
    """No file may grow beyond 30 kB, which the weights of the recipe tiny do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_file_that_may_not_grow_while_saving(refused: Refused, run_copy: Path) -> None:
    before = snapshot(run_copy / "checkpoints")
    argv = ("--max-steps", "9", "--out", str(run_copy), "--resume", "auto")
    said = refused(*TINY, *argv, "--cache-dir", cache_of(run_copy))
    assert "step-0000009" in said
    assert "too large" in said.lower()
    assert snapshot(run_copy / "checkpoints") == before


def cache_of(run: Path) -> str:
    """Where the run's tokens are kept."""
    return str(read_json(run / "config.json")["data"]["cache_dir"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_saving(refused: Refused, finished: Path, small_disk: Path) -> None:
    run = Path(shutil.copytree(finished, small_disk / "run"))
    before = snapshot(run / "checkpoints")
    room = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (room.f_bavail * room.f_bsize - 50_000))
    said = refused(*TINY, "--max-steps", "9", "--out", str(run), "--resume", "auto")
    assert "No space left on device" in said
    assert snapshot(run / "checkpoints") == before
    filler.unlink()
    assert main([*TINY, "--max-steps", "9", "--out", str(run), "--resume", "auto"]) == 0
    assert newest(run).name == "step-0000009"
