"""How the work of a run is shared out."""

from dataclasses import dataclass
from typing import Literal

from boggers.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """How a run is spread over processes, and over time within one."""

    strategy: Literal["ddp", "fsdp"] = "ddp"
    """With several processes (torchrun): ddp keeps the whole model in each; fsdp shards weights,
    gradients and moments over all of them, for models that do not fit."""

    micro_batch_size: int | None = None
    """Rows that a process works on at once; it takes a larger share of the batch in parts whose
    gradients add up. All at once if left out."""

    checkpoint_format: Literal["auto", "whole", "sharded"] = "auto"
    """whole: one file, written while training waits; sharded: each process writes its part while
    training goes on. auto is sharded with `--strategy fsdp`. Either continues with any number of
    processes."""

    deterministic: bool = False
    """Use only operations that give the same bits each time, where a device has faster ones that
    do not; an operation that has no such form ends the run."""

    def __post_init__(self) -> None:
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise UserError(
                f"--micro-batch-size must be at least 1; it is {self.micro_batch_size}."
            )

        if self.strategy == "fsdp" and self.checkpoint_format == "whole":
            raise UserError(
                "--strategy fsdp shards the model, so its checkpoints are sharded too; leave out "
                "--checkpoint-format whole."
            )

    @property
    def sharded_checkpoints(self) -> bool:
        """Whether each process writes its own part of a checkpoint."""
        if self.checkpoint_format == "auto":
            return self.strategy == "fsdp"
        return self.checkpoint_format == "sharded"
