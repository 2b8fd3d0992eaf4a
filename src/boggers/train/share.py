"""Which rows of a step's batch a process works on, and how the gradients of all add up.

    gradient = Σ over parts of (rows of the part / rows of the batch) · ∇ mean loss of the part

A step is the same whether one process takes the batch whole, in parts one after another
(`--micro-batch-size`), or many processes take a part each: `--batch-size` counts the rows of all.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from boggers.errors import UserError
from boggers.model.architectures import Model
from boggers.parallel import World
from boggers.train.loss import OF_THE_BATCH, Loss
from boggers.train.run import RunConfig

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Rows that are computed together.

    Attributes:
        rows: which of the batch.
        weight: their share of the batch; 0 for a row that stands in where there is none left.
    """

    rows: slice
    weight: float


def parts(n: int, world: World, most: int | None = None) -> list[Part]:
    """The parts of a batch of n rows that a process works on, equally many in every process.

    Together the parts of all processes are the batch, every row once. Where the batch has fewer
    rows than there are processes, some compute its first row at weight 0, since gradients can only
    be added up when all of them come.

    Args:
        n: rows of the batch, at least 1.
        world: the processes that share it.
        most: rows of a part; any number if None.
    """
    start, stop = n * world.rank // world.size, n * (world.rank + 1) // world.size
    longest = -(-n // world.size)
    count = 1 if most is None else -(-longest // most)
    bounds = [start + (stop - start) * i // count for i in range(count + 1)]
    return [
        Part(slice(a, b), (b - a) / n) if b > a else Part(slice(0, 1), 0.0)
        for a, b in pairwise(bounds)
    ]


def carried_by(part: Part, carried: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a part goes on from, of what the batch before left."""
    return {
        name: value if name in OF_THE_BATCH else value[part.rows] for name, value in carried.items()
    }


def require_whole_batches(config: RunConfig, world: World) -> None:
    """Refuse records that look at single rows where nobody sees a whole batch.

    Raises:
        UserError: such a record is wanted in a run that takes its batches in parts, or one that
            reads the model where its weights are spread.
    """
    record = config.record
    if record.by_row and (world.size > 1 or config.parallel.micro_batch_size is not None):
        raise UserError(
            f"{record.by_row[0]} looks at every row of a batch at once; this run takes batches in "
            "parts. Leave it out, or train in one process without --micro-batch-size."
        )
    if world.size > 1 and config.parallel.strategy == "fsdp" and record.epoch_metrics_csv:
        raise UserError(
            "--epoch-metrics-csv measures with the whole model, which --strategy fsdp spreads over "
            "processes. Leave it out (metrics.csv has every loss), or use --strategy ddp."
        )


class Door(nn.Module):
    """The way to a model's weights: whatever is computed with them is computed in a call of it.

    So a wrapper around it can gather the weights before and add up their gradients after, however
    many methods of the model the work uses.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[Model], T]) -> T:
        """Do some work with the model."""
        return work(self.model)


def open_door(model: Model, world: World, config: RunConfig, device: torch.device) -> nn.Module:
    """The door to a model, on its device, wrapped for the world.

    With FSDP the model's parameters are replaced, so this comes before its optimiser. Each stage
    of a stream is gathered alone, unless its weights are used outside of it.

    Args:
        model: with the same weights in every process.
        world: the processes that train it together.
        config: the strategy, and the objective.
        device: where it is to be.
    """
    door = Door(model)
    if world.size == 1:
        return door.to(device)
    if config.parallel.strategy == "ddp":
        # Buffers are alike everywhere; sent again, they would change under a gradient.
        return DistributedDataParallel(
            door.to(device), find_unused_parameters=True, broadcast_buffers=False
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world.size,))
    scalars = {p for p in model.parameters() if p.ndim == 0}
    for stage in _closed_stages(model, config):
        fully_shard(stage, mesh=mesh, ignored_params=scalars)
    fully_shard(door, mesh=mesh, ignored_params=scalars)
    return door.to(device)


def _closed_stages(model: Model, config: RunConfig) -> list[nn.Module]:
    """The stages of a stream whose weights nobody uses outside of them."""
    stages = list(getattr(model, "stages", ()))
    if config.loss.weights.energy > 0.0:
        return []
    # What other basins say is weighed against the energy of the last stage.
    return stages if getattr(model, "basins", None) is None else stages[:-1]


def validated(door: nn.Module, world: World, validate: Callable[[Model], T]) -> T:
    """What the first process measures, in every process; the model is in evaluation mode.

    What measures waits for no other process, so each may give it up on its own.

    Where each process has the whole model the others wait. With FSDP all take part, since weights
    are gathered from all of them: for the measurement each process has them whole, a quarter of
    what training keeps, since diagnoses look into a model stage by stage.
    """
    if not _is_spread(door):
        inner = door if isinstance(door, Door) else cast("Door", door.module)
        return world.told(lambda: validate(inner.model))
    with torch.no_grad(), _gathered(door):
        found: T = door(validate)
    return world.told(lambda: found)


@contextmanager
def _gathered(door: nn.Module) -> Iterator[None]:
    """Inside the block every process has all weights; after it each its share, however it ends."""
    from torch.distributed.fsdp import FSDPModule

    spread = [module for module in door.modules() if isinstance(module, FSDPModule)]
    for module in spread:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:  # what stayed gathered would be taken for the weights of the next step
        for module in spread:
            module.reshard()
            module.set_reshard_after_forward(module is not door, recurse=False)


class Adding:
    """Adds up the gradients and measurements of a step over its parts and over all processes.

    Args:
        door: what `open_door` gave.
        world: the processes that work on a step.
    """

    def __init__(self, door: nn.Module, world: World) -> None:
        self._door = door
        self._world = world

    def add(
        self,
        part: Part,
        work: Callable[[Model], Loss],
        precision: AbstractContextManager[object],
        *,
        is_last: bool,
    ) -> Loss:
        """Differentiate one part; after the last the gradients are those of the whole batch."""
        with self._in_company(is_last):
            with precision:
                total, loss = cast("tuple[Tensor, Loss]", self._door(lambda m: _opened(work(m))))
            share = part.weight * self._world.size
            (total if share == 1.0 else total * share).backward()  # type: ignore[no-untyped-call]
        if is_last and _is_spread(self._door):
            self._add_up_scalars()
        return loss

    def _add_up_scalars(self) -> None:
        """FSDP leaves single numbers alone; their gradients are averaged here."""
        alone = [p for p in self._door.parameters() if p.ndim == 0 and p.grad is not None]
        if alone:
            gradients = torch.stack([p.grad for p in alone if p.grad is not None])
            dist.all_reduce(gradients)
            for parameter, gradient in zip(alone, gradients / self._world.size, strict=True):
                parameter.grad = gradient.clone()

    @contextmanager
    def _in_company(self, is_last: bool) -> Iterator[None]:
        """Only the last part's backward pass adds up over the processes."""
        door = self._door
        if isinstance(door, DistributedDataParallel):
            with nullcontext() if is_last else door.no_sync():
                yield
            return
        if _is_spread(door):
            cast("FSDPModule", door).set_requires_gradient_sync(is_last)
        yield

    def mean(self, losses: list[tuple[Part, Loss]], n: int) -> Loss:
        """The measurements of a batch of n rows, and what it leaves to the next step.

        The same in every process, still on the device.
        """
        if self._world.size == 1 and len(losses) == 1:
            return losses[0][1]
        rows = [
            part.weight * torch.stack([value.detach().float() for value in _values(loss).values()])
            for part, loss in losses
        ]
        means = torch.stack(rows).sum(0)
        if self._world.size > 1:
            dist.all_reduce(means)
        names = iter(means.unbind())
        first = losses[0][1]
        return Loss(
            next(names),
            {name: next(names) for name in first.parts},
            {name: next(names) for name in first.settling},
            carried=self._carried(losses, n),
        )

    def _carried(self, losses: list[tuple[Part, Loss]], n: int) -> dict[str, Tensor]:
        """Rows side by side, and the mean of what belongs to the whole batch."""
        carried: dict[str, Tensor] = {}
        for name, like in losses[0][1].carried.items():
            if name in OF_THE_BATCH:
                total = sum(part.weight * loss.carried[name] for part, loss in losses)
                assert isinstance(total, Tensor)
            else:
                total = like.new_zeros(n, *like.shape[1:])
                for part, loss in losses:
                    if part.weight:
                        total[part.rows] = loss.carried[name]
            if self._world.size > 1:
                dist.all_reduce(total)
            carried[name] = total
        return carried


def _is_spread(door: nn.Module) -> bool:
    """Whether FSDP has spread the weights behind a door; it gives the door a class of its own."""
    return type(door) not in (Door, DistributedDataParallel)


def _opened(loss: Loss) -> tuple[Tensor, Loss]:
    """The scalar to differentiate where wrappers look for it, and the loss it belongs to."""
    return loss.total, loss


def _values(loss: Loss) -> dict[str, Tensor]:
    return {
        "": loss.total,
        **{f"part {k}": v for k, v in loss.parts.items()},
        **{f"settling {k}": v for k, v in loss.settling.items()},
    }
