import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from boggers.cli.main import main

Refused = Callable[..., str]
Boggers = Callable[..., "subprocess.CompletedProcess[str]"]

TINY = ("train", "tiny", "--device", "cpu", "--max-steps", "6", "--save-every", "3")
"""A run that takes a second."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder, so that a default path cannot reach this source tree."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOGGERS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused; returns the one line that says why."""

    def run(*argv: str) -> str:
        capsys.readouterr()
        code = main(argv)
        said = capsys.readouterr().err
        assert code == 2
        assert said.startswith("boggers: ")
        assert said.endswith("\n")
        assert said.count("\n") == 1, said
        return said.removeprefix("boggers: ").rstrip("\n")

    return run


@pytest.fixture
def boggers() -> Boggers:
    """Run a command in a process of its own."""

    def run(*argv: str, **options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "boggers", *argv],
            capture_output=True,
            text=True,
            input=options.get("input"),
        )

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it work on a copy."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    torch.set_num_threads(1)
    cache = folder.parent / "cache"
    assert main([*TINY, "--out", str(folder), "--cache-dir", str(cache)]) == 0
    return folder
