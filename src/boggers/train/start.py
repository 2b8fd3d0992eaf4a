"""Where a run begins: in a new folder, or at a checkpoint of an earlier run."""

from dataclasses import dataclass
from pathlib import Path

from boggers.errors import UserError
from boggers.files import MANIFEST
from boggers.train.elsewhere import run_of
from boggers.train.run import Run, RunConfig, new_folder
from boggers.train.step_folders import is_step_folder, latest
from boggers.train.typed_json import differences


@dataclass(frozen=True)
class Start:
    """The decision."""

    run: Run
    """The folder that the run writes to."""

    source: Run | None = None
    """The run whose tokenizer is used; None begins a new one."""

    checkpoint: Path | None = None
    """The checkpoint to continue from; None begins at step 0."""

    damaged: tuple[str, ...] = ()
    """One sentence for every damaged checkpoint that was passed over."""


def choose_start(config: RunConfig) -> Start:
    """What `--out`, `--resume` and `--resume-checkpoint` together mean.

    Raises:
        UserError: the folder holds a run that was not to be continued, or there is nothing (or
            nothing whole) to continue.
    """
    train = config.train
    if train.resume_checkpoint is not None:
        start = _at_checkpoint(train.resume_checkpoint, train.out)
    elif train.resume == "auto":
        start = _automatic(train.out)
    else:
        start = Start(_new(train.out or new_folder(config.architecture)))
    if start.source is not None:
        _require_same_text(start.source, config)
    return start


def _new(folder: Path) -> Run:
    run = Run(folder)
    if run.exists:
        raise UserError(
            f"{folder} already holds a run. Continue it with --resume auto, or choose another "
            "--out."
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out must be a folder, but {folder} is a file. Choose another --out.")
    return run


def _automatic(out: Path | None) -> Start:
    if out is None:
        raise UserError("--resume auto needs the folder of the run to continue; give it by --out.")
    run = Run(out)
    if not run.exists:
        return Start(_new(out))
    found = latest(run.checkpoints)
    if found.path is None and found.skipped:
        raise UserError(
            f"{out} has no whole checkpoint to continue from: {' '.join(found.skipped)} "
            "Move its checkpoints away to begin again, or choose another --out."
        )
    return Start(run, run, found.path, found.skipped)


def _at_checkpoint(path: Path, out: Path | None) -> Start:
    if not path.is_dir():
        raise UserError(f"--resume-checkpoint must be a checkpoint or run folder; {path} is none.")
    damaged: tuple[str, ...] = ()
    if (path / MANIFEST).is_file() or is_step_folder(path):
        folder, source = path, run_of(path)
    else:
        source = Run(path)
        found = latest(source.checkpoints)
        if found.path is None:
            raise UserError(
                f"--resume-checkpoint: {path} holds no whole checkpoint. {' '.join(found.skipped)}"
            )
        folder, damaged = found.path, found.skipped
    if out is not None and out.resolve() != source.folder.resolve():
        return Start(_new(out), source, folder, damaged)
    newest = latest(source.checkpoints).path
    if newest is not None and newest.name > folder.name:
        raise UserError(
            f"{source.folder} has gone on to {newest.name} since {folder.name}. Continue with "
            "--resume auto, or branch off into another --out."
        )
    return Start(source, source, folder, damaged)


def _require_same_text(source: Run, config: RunConfig) -> None:
    others = differences(source.load_config().text, config.text)
    if others:
        raise UserError(
            f"{source.folder} was begun with another tokenizer: {others}. "
            "Give the same settings, or start a new run with another --out."
        )
