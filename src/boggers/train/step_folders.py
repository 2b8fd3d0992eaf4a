"""The folders of a run's checkpoints: their names, the newest whole one, those that are kept."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from boggers.errors import UserError
from boggers.files import MANIFEST, verify_folder

_NAME = re.compile(r"step-(\d{7,})")


@dataclass(frozen=True)
class Found:
    """A checkpoint to continue from, if there is one."""

    path: Path | None
    skipped: tuple[str, ...]
    """One sentence for every newer checkpoint that is damaged."""


def step_folder(checkpoints: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` steps."""
    return checkpoints / f"step-{step:07d}"


def is_step_folder(path: Path) -> bool:
    """Whether a path is named like a checkpoint."""
    return _NAME.fullmatch(path.name) is not None


def is_whole(folder: Path) -> bool:
    """Whether a checkpoint is there and undamaged."""
    try:
        verify_folder(folder)
    except UserError:
        return False
    return True


def latest(checkpoints: Path) -> Found:
    """The newest whole checkpoint; damaged ones are passed over and named."""
    skipped: list[str] = []
    for _, folder in reversed(_numbered(checkpoints)):
        try:
            verify_folder(folder)
        except UserError as error:
            skipped.append(str(error))
        else:
            return Found(folder, tuple(skipped))
    return Found(None, tuple(skipped))


def prune(checkpoints: Path, *, step: int, best: int | None, keep: int) -> None:
    """Remove checkpoints that are neither among the newest nor the best.

    Args:
        checkpoints: where they lie.
        step: of the run; folders beyond it are left alone: they are damaged ones that were passed
            over.
        best: the step of the best one, if any has been measured.
        keep: how many of the newest remain, at least 1.
    """
    past = [(at, folder) for at, folder in _numbered(checkpoints) if at <= step]
    for at, folder in past[:-keep]:
        if at != best:
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def sweep(checkpoints: Path) -> None:
    """Remove what a killed process left half written."""
    if checkpoints.is_dir():
        for folder in checkpoints.glob(".step-*"):
            shutil.rmtree(folder, ignore_errors=True)


def _numbered(checkpoints: Path) -> list[tuple[int, Path]]:
    """Checkpoint folders with their steps, in the order of these."""
    if not checkpoints.is_dir():
        return []
    matches = [(_NAME.fullmatch(folder.name), folder) for folder in checkpoints.iterdir()]
    return sorted((int(match[1]), folder) for match, folder in matches if match)
