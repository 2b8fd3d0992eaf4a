"""The objective of one batch as it is added up: named terms, weighted."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from boggers.dynamics.record import Relaxation
from boggers.model.token import TokenReading
from boggers.train import losses
from boggers.train.loss_config import LossConfig

OF_THE_BATCH = frozenset({"repulsion"})
"""What is carried from step to step for a batch as a whole; all else has a row for each of its."""


@dataclass(frozen=True)
class Loss:
    """One batch's objective and what it is made of; nothing here has been moved to the host."""

    total: Tensor
    """The scalar to differentiate."""

    parts: dict[str, Tensor]
    """Each auxiliary term before its weight, detached, by the name of its metrics column; always
    with `train_ce`, the plain cross-entropy, whatever its weight."""

    settling: dict[str, Tensor]
    """How the batch settled: means over its rows or positions, by metrics column, detached."""

    carried: dict[str, Tensor] = field(default_factory=dict)
    """What the next step of the run goes on from, by name; detached."""

    relaxation: Relaxation | None = None
    """How the windows settled, if the model is one of windows."""

    reading: TokenReading | None = None
    """How the tokens were followed, if the model is one of tokens."""

    logits: Tensor | None = None
    """What was predicted, (B, V)."""


class Terms:
    """Adds up an objective: Σ weight · loss, beginning with the cross-entropy.

    Args:
        logits: (N, V); the products that made them may be narrow, the sum over V is not.
        targets: (N,), what followed.
        config: the weight and the smoothing of the cross-entropy.
    """

    def __init__(self, logits: Tensor, targets: Tensor, config: LossConfig) -> None:
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        plain = losses.plain_cross_entropy(logits, targets)
        main = plain
        if config.label_smoothing > 0.0:
            main = losses.smoothed_cross_entropy(logits, targets, config.label_smoothing)
        self.total = config.weights.cross_entropy * main
        self.parts = {"train_ce": plain.detach()}

    def add(self, name: str, weight: float, value: Tensor) -> None:
        """Add a loss under the name of its metrics column."""
        self.total = self.total + weight * value
        self.parts[name] = value.detach()
