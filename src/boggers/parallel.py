"""Several processes as one: which of them this is, and what all of them agree on.

`torchrun` starts the processes and tells each its number; `join` makes them a world. A single
process is a world of one, and everything here then does nothing.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from boggers.errors import UserError

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long a process waits for another to cut a text into tokens, measure or write."""


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: this process, 0 ≤ rank < size.
        size: how many there are.
        local_rank: this process among those of its machine.
        decisions: the group in which they agree, on processors; None in a world of one.
        files: the group in which they write together, on processors, from a thread.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    decisions: dist.ProcessGroup | None = None
    files: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process speaks, and writes what is written once."""
        return self.rank == 0

    def device(self, wanted: torch.device) -> torch.device:
        """The device of this process: of several CUDA devices the one with its local number."""
        if self.size == 1 or wanted.type != "cuda" or wanted.index is not None:
            return wanted
        if self.local_rank >= torch.cuda.device_count():
            raise UserError(
                f"Each process of a machine needs a CUDA device of its own; this one shows "
                f"{torch.cuda.device_count()}, and process {self.local_rank} has none. Start as "
                "many processes as there are devices (torchrun --nproc-per-node)."
            )
        device = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(device)
        return device

    def told(self, decide: Callable[[], T]) -> T:
        """What the first process decides; a refusal of its is raised by all.

        Raises:
            UserError: the first process refused.
        """
        if self.size == 1:
            return decide()
        answer: list[T | UserError | None] = [None]
        if self.is_first:
            try:
                answer = [decide()]
            except UserError as error:
                answer = [error]
        dist.broadcast_object_list(answer, src=0, group=self.decisions)
        if isinstance(answer[0], UserError):
            raise answer[0]
        return answer[0]  # type: ignore[return-value]

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """One process of each machine does what follows, then the others, who find it done."""
        if self.local_rank != 0:
            self.meet()
        yield
        if self.local_rank == 0:
            self.meet()

    def meet(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier(group=self.decisions)

    def require_same(self, what: str, value: str) -> None:
        """Refuse to go on with a value that differs between processes.

        Raises:
            UserError: it does.
        """
        if self.size == 1:
            return
        values: list[str] = [""] * self.size
        dist.all_gather_object(values, value, group=self.decisions)
        if len(set(values)) > 1:
            raise UserError(
                f"All processes of a run must have the same {what}, but they differ. Give every "
                "machine the same files and the same version of boggers and its libraries."
            )


ALONE = World()
"""A single process."""


class Agreement:
    """Whether any process wishes something, known to all of them at the same step.

    The wishes of a step travel while the next one is computed, on the processors alone: no device
    is waited for. The answer is therefore a step late.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: tuple[dist.Work, torch.Tensor] | None = None

    def __call__(self, wish: bool) -> bool:
        """Wish or not, and learn what was wished at the call before; of one's own at once."""
        if self._world.size == 1:
            return wish
        agreed = self._answer()
        wishes = torch.tensor([int(wish)])
        work = dist.all_reduce(
            wishes, dist.ReduceOp.MAX, group=self._world.decisions, async_op=True
        )
        assert work is not None
        self._asked = (work, wishes)
        return agreed

    def _answer(self) -> bool:
        if self._asked is None:
            return False
        work, wishes = self._asked
        work.wait()
        return bool(wishes.item())


def join() -> World:
    """The world of the processes that `torchrun` started; a world of one without it.

    On CUDA devices gradients travel by NCCL, elsewhere by Gloo.

    Raises:
        UserError: the other processes cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        decisions, files = (dist.new_group(backend="gloo", timeout=PATIENCE) for _ in range(2))
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"The {size} processes of a run must reach one another at MASTER_ADDR and MASTER_PORT, "
            f"but do not: {str(error).splitlines()[0]}. See docs/launch.md."
        ) from error
    return World(dist.get_rank(), size, int(os.environ.get("LOCAL_RANK", "0")), decisions, files)


def leave(world: World) -> None:
    """Part in peace, when all is done."""
    if world.size > 1:
        dist.destroy_process_group()


def require_determinism() -> None:
    """Let torch use only operations that give the same bits each time, in this process."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA is first used
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


@contextmanager
def watched(world: World) -> Iterator[None]:
    """Turns the loss of another process into a sentence.

    Raises:
        UserError: a process died or cannot be reached any more.
    """
    try:
        yield
    except RuntimeError as error:
        if world.size == 1 or not _is_loss(error):
            raise
        said = " ".join(re.sub(r"\[[^\]]*:\d+\]\s*", "", str(error).splitlines()[0]).split())
        raise UserError(
            f"Process {world.rank} of {world.size} ended, for another one was lost ({said}). "
            "Checkpoints saved before are whole: start all processes again with --resume auto."
        ) from error


def _is_loss(error: RuntimeError) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return re.search(r"gloo|nccl|peer|connect|timed? ?out|socket", str(error), re.I) is not None
