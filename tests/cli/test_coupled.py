"""A run beside its graph and its memory, from the command line: train, eval, generate, show."""

import json
from pathlib import Path

import pytest
import torch

from boggers.cli.configuration import read_configuration
from boggers.cli.main import main
from boggers.train.loop import fit
from boggers.train.prepare import prepare
from boggers.train.run import Run, RunConfig
from tests.cli.conftest import TINY, Refused

Said = pytest.CaptureFixture[str]
COUPLED = ("--use-substrate", "--use-goat-memory", "--language-threshold", "0")
GAINS = ("--graph-temperature", "1", "--graph-steps", "2")


@pytest.fixture(scope="module")
def coupled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "coupled"
    torch.set_num_threads(1)
    cache = str(folder.parent / "cache")
    argv = [*TINY[1:], "--out", str(folder), "--cache-dir", cache, *COUPLED, *GAINS]
    fit(prepare(read_configuration(argv)))
    return folder


def test_the_cycle_changes_the_graph_and_nothing_else(coupled: Path, capsys: Said) -> None:
    command = ["eval", str(coupled), "--use-substrate", "--use-goat-memory", "--device", "cpu"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "must not change: weights (as it must)" in said
    assert "token memory (hold" in said
    report = json.loads((coupled / "wave_cycle.json").read_text())
    assert report["bpb_before"] == report["bpb_after"]
    assert report["bpb_coupled"] not in (None, report["bpb_after"])
    assert 0 < report["cycle"]["ts_ticks"] <= 11
    assert report["cycle"]["mean_lang_tension"] > 0
    memory = json.loads((coupled / "memory.json").read_text())
    assert memory["active"] > 0
    assert memory["bpb"] != memory["bpb_without"]


def test_a_text_is_written_beside_the_graph(coupled: Path, capsys: Said) -> None:
    def written(*more: str) -> str:
        command = ["generate", str(coupled), "--prompt", "the ", "--max-tokens", "40", *more]
        assert main([*command, "--device", "cpu"]) == 0
        return capsys.readouterr().out

    plain, coupled_text = written(), written("--use-substrate")
    assert plain != coupled_text
    assert coupled_text == written("--use-substrate")
    off = ("--use-substrate", "--graph-temperature", "0", "--graph-steps", "0")
    assert written(*off) == plain


def test_a_runs_graph_is_shown(coupled: Path, capsys: Said) -> None:
    assert main(["graph", "show", str(coupled)]) == 0
    assert "llm_substrate" in capsys.readouterr().out


def test_what_a_run_does_not_have_is_refused(
    finished: Path, tmp_path: Path, refused: Refused
) -> None:
    said = refused("eval", str(finished), "--use-goat-memory")
    assert "trained without --use-goat-memory" in said
    said = refused("generate", str(finished), "--prompt", "x", "--graph-steps", "1")
    assert "does nothing without --use-substrate" in said
    said = refused("eval", str(finished), "--use-substrate", "--max-ticks", "-1")
    assert "--max-ticks" in said
    assert "Make one with" in refused("graph", "show", str(finished))


def test_the_run_remembers_its_options(coupled: Path) -> None:
    config = Run(coupled).load_config()
    assert config.graph.use_substrate
    assert config.graph.graph_steps == 2
    assert RunConfig.from_json(config.to_json()) == config
