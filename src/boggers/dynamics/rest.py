"""When a row may stop, and which of its waves are already still."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from boggers.shapes import PerRow, RowMask


@dataclass(frozen=True)
class RestRule:
    """A row rests once its energy changes by less than `epsilon` from one step to the next.

    Attributes:
        epsilon: smallest change of energy that counts as motion, > 0.
        min_steps: the earliest step at which a row may rest, ≥ 2.
    """

    epsilon: float
    min_steps: int = 2

    def settled(self, step: int, previous: PerRow | None, energy: PerRow) -> RowMask:
        """Which rows rest after this step (counted from 1)."""
        if previous is None or step < self.min_steps:
            return torch.zeros_like(energy, dtype=torch.bool)
        return (previous - energy).abs() < self.epsilon


@dataclass(frozen=True)
class FreezeRule:
    """A wave closer than `threshold` to an anchor feels no force in the next step.

    Attributes:
        threshold: distance to the same wave of the nearest anchor, in state units.
        max_age: steps on end that a wave may stay frozen; None = for as long as it is near.
    """

    threshold: float
    max_age: int | None = None

    def next(
        self, distance: Float[Tensor, "B W N"], age: Int64[Tensor, "B W N"]
    ) -> tuple[Bool[Tensor, "B W N"], Int64[Tensor, "B W N"]]:
        """The mask of frozen waves for the next step, and the new ages."""
        near = distance < self.threshold
        age = torch.where(near, age + 1, 0)
        return (near if self.max_age is None else near & (age <= self.max_age)), age
