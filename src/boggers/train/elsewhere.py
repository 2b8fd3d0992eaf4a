"""Checkpoints in a folder of their own, which the run's folder refers to."""

from pathlib import Path

from boggers.errors import UserError
from boggers.files import read_json, write_json
from boggers.train.run import Run

POINTER = "run.json"


def place_checkpoints(run: Run, folder: Path) -> None:
    """Let `run`'s checkpoints lie in `folder`: its own folder becomes a link to that.

    Raises:
        UserError: the folder belongs to another run, the run has checkpoints elsewhere already, or
            the file system knows no links.
    """
    target, link, pointer = folder.resolve(), run.checkpoints, folder / POINTER
    if link.exists() and link.resolve() == target:
        return
    if link.exists():
        raise UserError(
            f"{run.folder} has its checkpoints in {link.resolve()} already. Leave out "
            "--checkpoint-dir, or start a new run."
        )
    if pointer.is_file() or (folder.is_dir() and any(folder.glob("step-*"))):
        raise UserError(
            f"--checkpoint-dir {folder} holds the checkpoints of another run. Name a folder that "
            "holds none."
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise UserError(
            f"--checkpoint-dir {folder} cannot be used: {error.strerror or error}. Leave it out: "
            "checkpoints lie in the run's folder."
        ) from error
    write_json(pointer, {"run": str(run.folder.resolve())})


def run_of(checkpoint: Path) -> Run:
    """The run that a checkpoint folder belongs to."""
    place = checkpoint.resolve().parent
    pointer = place / POINTER
    if pointer.is_file():
        return Run(Path(str(read_json(pointer)["run"])))
    return Run(place.parent)
