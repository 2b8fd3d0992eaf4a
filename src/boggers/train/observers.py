"""What a training run tells whoever watches it: values, never text."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from torch import Tensor

from boggers.data.windows import Batch
from boggers.train.loss import Loss
from boggers.train.metrics import MetricsRow

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """One optimiser step has been issued; nothing in here waited for the device."""

    step: int
    """Steps taken so far, of `total_steps`."""

    total_steps: int
    epoch: int
    """The epoch that the step belonged to, counted from 1."""

    lr: float
    tokens: int
    """Tokens predicted in training so far."""

    tokens_per_second: float
    """Recent training speed, measurements and saving excluded; 0 while unknown."""

    seconds: float
    """Wall-clock time so far, earlier parts of a resumed run included."""

    seconds_left: float | None
    """Estimate until the last step at the recent speed; None while unknown."""

    row: MetricsRow | None
    """The row of metrics.csv that this step completed, if it did."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """A measurement over the held-out text, or its beginning."""

    ce: float
    """Plain cross-entropy, in nats per token."""

    bits_per_byte: float
    tokens: int
    """Held-out tokens, each predicted once."""

    partial: bool = False
    """Whether these are only the first of them; see `--eval-tokens`."""

    diagnosis: str | None = None
    """COLLAPSED, OSCILLATING, DRIFT or HEALTHY; None for a model that takes no steps."""


@dataclass(frozen=True, kw_only=True)
class EvalEvent:
    """The held-out text has been measured."""

    step: int
    validation: Validation
    is_best: bool
    """Whether this is the lowest cross-entropy so far."""


class Attempt(Protocol):
    """Does something long; a signal ends it, and then nothing comes of it."""

    def __call__(self, work: Callable[[], T]) -> T | None:
        """What came of the work, which must leave nothing half done; None = it was ended."""


def attempt_always(work: Callable[[], T]) -> T | None:
    """An attempt that no signal ends."""
    return work()


@dataclass(frozen=True, kw_only=True)
class EpochEvent:
    """Every training window has been used once more."""

    step: int
    epoch: int
    """Epochs finished."""

    attempt: Attempt = attempt_always
    """For whatever takes long at an epoch's end, so that a run that is to end need not wait."""

    graph: dict[str, float] = field(default_factory=dict)
    """What the living graph felt in this epoch, by the original's column names; empty without."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How training ended."""

    step: int
    total_steps: int
    epoch: int
    """Epochs finished."""

    tokens: int
    """Tokens predicted in training."""

    seconds: float
    """Wall-clock time of the whole run, earlier parts included."""

    skipped: int
    """Steps that changed nothing because their loss or gradient was not finite."""

    best_ce: float | None
    """Lowest held-out cross-entropy, in nats."""

    best_step: int | None
    validation: Validation | None
    """The last measurement of this call."""

    checkpoint: Path | None
    """The newest checkpoint; None if no step was ever taken."""

    interrupted: bool
    """Whether a signal ended the run before its last step or measurement; it can be resumed."""

    signal: int | None = None
    """The signal that this process got; another process of the run may have got it."""
    notes: tuple[str, ...] = ()
    """Sentences that a person should read."""


@dataclass(frozen=True, kw_only=True)
class BatchEvent:
    """One batch has been learned from; nothing in here has been moved to the host."""

    step: int
    """Steps taken, this one included."""

    epoch: int
    """Counted from 1."""

    index: int
    """The batch within its epoch, counted from 0."""

    lr: float
    batch: Batch
    loss: Loss
    grad_norm: Tensor
    """Global gradient norm before clipping."""


class Recorder(Protocol):
    """Looks into every batch, which an observer does not; it may wait for the device."""

    watches: bool
    """Whether it needs the whole path of settling."""

    def on_batch(self, event: BatchEvent) -> None:
        """After every optimiser step, before its observers are told."""


class Observer(Protocol):
    """Is told what happens; a progress bar, a logger. Called on the training thread."""

    def on_step(self, event: StepEvent) -> None:
        """After every optimiser step."""

    def on_eval(self, event: EvalEvent) -> None:
        """After every measurement of the held-out text."""

    def on_epoch(self, event: EpochEvent) -> None:
        """After every epoch."""

    def on_end(self, result: FitResult) -> None:
        """Once, after the last checkpoint is whole."""
