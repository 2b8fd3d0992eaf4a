"""A sweep trains each value with each seed, once, and says what the option is worth."""

import json
from pathlib import Path

import pytest

from boggers.cli.main import main

from .conftest import Refused

TINY = ("sweep", "tiny", "--device", "cpu", "--max-steps", "3", "--corpus", "synthetic")


def test_one_option_with_the_same_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TINY, "--vary", "num_dynamics_steps=0,2", "--seeds", "1,2", "--out", "s"]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "num_dynamics_steps=2 against 0" in said
    assert "2 seeds" in said
    found = json.loads(Path("s/sweep.json").read_text())
    first, second = found["variants"]
    assert [trial["seed"] for trial in first["trials"]] == [1, 2]
    apart = [b["bpb"] - a["bpb"] for a, b in zip(first["trials"], second["trials"], strict=True)]
    assert second["difference"]["value"] == pytest.approx(sum(apart) / 2)
    assert first["difference"] is None
    assert second["difference"]["low"] < second["difference"]["high"]
    assert len(Path("s/sweep.csv").read_text().splitlines()) == 5
    assert Path("s/sweep.png").stat().st_size > 1000
    config = json.loads(Path("s/num_dynamics_steps-2/seed-1/config.json").read_text())
    assert config["model"]["num_dynamics_steps"] == 2
    assert config["train"]["seed"] == 1
    # Again: nothing is trained twice, everything is the same.
    marks = {path: path.stat().st_mtime_ns for path in Path("s").rglob("model.safetensors")}
    assert len(marks) >= 4
    assert main(argv) == 0
    assert json.loads(Path("s/sweep.json").read_text())["variants"] == found["variants"]
    assert {path: path.stat().st_mtime_ns for path in marks} == marks


def test_words_are_values_too(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*TINY, "--vary", "readout=flat,tied", "--seeds", "0", "--out", "s"]
    assert main(argv) == 0
    assert "says nothing of chance" in " ".join(capsys.readouterr().out.split())


def test_mistakes_are_told(refused: Refused) -> None:
    assert "at least two values" in refused(*TINY, "--vary", "lr=1e-3")
    assert "at least two different" in refused(*TINY, "--vary", "lr=1e-3,1e-3")
    assert "sets it" in refused(*TINY, "--vary", "seed=1,2")
    assert "no setting 'nonsense'" in refused(*TINY, "--vary", "nonsense=1,2")
    assert "whole numbers" in refused(*TINY, "--vary", "lr=1e-3,2e-3", "--seeds", "a")
    assert "required" in refused("sweep", "tiny")
    assert "val-fraction" in refused(*TINY, "--vary", "lr=1e-3,2e-3", "--val-fraction", "0")
