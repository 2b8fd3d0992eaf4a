"""Who writes a run's checkpoints, and when they are whole."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from boggers.errors import UserError
from boggers.files import adopt_folder, write_json
from boggers.model.sharded import AVERAGED, MOMENT, WEIGHT, stored, writer
from boggers.model.weights import save_shape
from boggers.train import checkpoint
from boggers.train.checkpoint import Progress
from boggers.train.prepare import Prepared
from boggers.train.step_folders import prune, step_folder, sweep


class CheckpointWriter(Protocol):
    """Writes checkpoints of one run; every process calls the same methods."""

    def save(self, progress: Progress, carried: Mapping[str, Tensor]) -> Path:
        """Begin to write the checkpoint of this progress; where it lies when it is whole.

        Args:
            progress: where the run stands.
            carried: what the last step left to the next one, the same in every process.
        """

    def finish(self) -> None:
        """Wait until what was begun is whole."""


def checkpoint_writer(prepared: Prepared) -> CheckpointWriter:
    """The writer that a run's configuration asks for."""
    if prepared.config.parallel.sharded_checkpoints:
        return ShardedWriter(prepared)
    return WholeWriter(prepared)


class WholeWriter:
    """The first process writes everything while training waits."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def save(self, progress: Progress, carried: Mapping[str, Tensor]) -> Path:
        """Write the checkpoint."""
        run = self._prepared
        return run.world.told(
            lambda: checkpoint.save(
                run.run.checkpoints,
                run.model,
                run.optimizer,
                progress,
                run.origin,
                run.config.train.keep_checkpoints,
                run.average,
                carried,
                run.coupling,
            )
        )

    def finish(self) -> None:
        """Nothing is left to do."""


class ShardedWriter:
    """Every process writes its part, from a copy, while training goes on.

    The parts go into a hidden folder. When all are there the first process adds checksums and
    gives the folder its name, so that a run that dies meanwhile has the checkpoint before.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._thread = ThreadPoolExecutor(1)
        self._begun: Future[None] | None = None

    def save(self, progress: Progress, carried: Mapping[str, Tensor]) -> Path:
        """Copy what is to be written, and begin."""
        self.finish()
        prepared, world = self._prepared, self._prepared.world
        target = step_folder(prepared.run.checkpoints, progress.step)
        if world.told(lambda: checkpoint.is_saved(target, progress)):
            return target
        hidden = target.with_name(f".{target.name}.shards")
        world.told(lambda: self._describe(hidden, progress, carried))
        from torch.distributed.checkpoint.state_dict_saver import async_save

        copied = async_save(
            self._tensors(),
            storage_writer=writer(hidden),
            process_group=world.files,
            no_dist=world.size == 1,
        )
        assert isinstance(copied, Future)
        self._begun = self._thread.submit(self._complete, copied, hidden, target, progress)
        return target

    def finish(self) -> None:
        """Wait until the checkpoint that was begun is whole.

        Raises:
            UserError: it could not be written; those before it remain.
        """
        begun, self._begun = self._begun, None
        if begun is None:
            return
        _explained(begun.result)
        self._prepared.world.meet()

    def _describe(self, hidden: Path, progress: Progress, carried: Mapping[str, Tensor]) -> None:
        prepared = self._prepared
        sweep(prepared.run.checkpoints)
        hidden.mkdir(parents=True)
        save_shape(prepared.model, hidden)
        if carried:
            checkpoint.save_carried(carried, hidden)
        if prepared.coupling is not None:
            prepared.coupling.save(hidden)
        write_json(hidden / checkpoint.STATE, checkpoint.state(progress, prepared.origin))

    def _tensors(self) -> dict[str, Any]:
        prepared = self._prepared
        model, average = prepared.model, prepared.average
        slots = checkpoint.slots(model, prepared.optimizer)
        tensors = {f"{WEIGHT}{name}": value for name, value in model.state_dict().items()}
        tensors |= {f"{MOMENT}{name}": value for name, value in slots.items()}
        if average is not None:
            averaged = {**model.state_dict(), **average.tensors()}
            tensors |= {f"{AVERAGED}{name}": value for name, value in averaged.items()}
        return {name: stored(value) for name, value in tensors.items()}

    def _complete(
        self, copied: "Future[Any]", hidden: Path, target: Path, progress: Progress
    ) -> None:
        copied.result()
        if not self._prepared.world.is_first:
            return
        adopt_folder(hidden, target)
        checkpoints = self._prepared.run.checkpoints
        keep = self._prepared.config.train.keep_checkpoints
        prune(checkpoints, step=progress.step, best=progress.best_step, keep=keep)
        shutil.rmtree(hidden, ignore_errors=True)


def _explained(result: Callable[[], None]) -> None:
    """A failure to write, as a sentence."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        result()
    except (OSError, CheckpointException) as error:
        raise UserError(
            f"A checkpoint could not be written: {str(error).splitlines()[0]}. "
            "Nothing saved earlier was touched."
        ) from error
