"""How far one step goes: fixed, or decided by each row from its own tension or energy."""

from dataclasses import dataclass

import torch

from boggers.errors import UserError
from boggers.shapes import PerRow


@dataclass(frozen=True)
class TensionPace:
    """Slows a row's coupling while the row is tense and lets it recover when calm.

        target = clip(q · factor(T), lowest, 1),      q ← (1 - smoothing) q + smoothing · target

    factor is 0.88 above `tense`, 1.04 below `calm`, else 1. q starts at 1 for every relaxation.
    """

    tense: float = 0.22
    calm: float = 0.06
    smoothing: float = 0.12
    lowest: float = 1e-3
    slow_factor: float = 0.88
    fast_factor: float = 1.04

    def next(self, scale: PerRow, tension: PerRow) -> PerRow:
        """The coupling scale of the following step, (B,) in [lowest, 1]."""
        factor = torch.ones_like(scale)
        factor = torch.where(tension > self.tense, factor * self.slow_factor, factor)
        factor = torch.where(tension < self.calm, factor * self.fast_factor, factor)
        target = (scale * factor).clamp(self.lowest, 1.0)
        return (1 - self.smoothing) * scale + self.smoothing * target


@dataclass(frozen=True)
class EnergyPace:
    """Halves a row's descent step after its energy rose, and lets it grow back after a clear fall.

    The step never exceeds the one it began with.
    """

    relative_fall: float = 0.01
    shrink: float = 0.5
    grow: float = 1.1
    lowest: float = 1e-8

    def __post_init__(self) -> None:
        if not 0 < self.shrink < 1 <= self.grow:
            raise UserError(
                "An energy pace must have 0 < shrink < 1 ≤ grow; "
                f"shrink {self.shrink} and grow {self.grow} came. Choose others."
            )

    def next(self, step: PerRow, largest: float, before: PerRow, after: PerRow) -> PerRow:
        """The descent step that follows one which took the energy from `before` to `after`."""
        fell_clearly = before - after > self.relative_fall * (before.abs() + 1e-8)
        grown = torch.where(fell_clearly, (step * self.grow).clamp_max(largest), step)
        return torch.where(after > before, step * self.shrink, grown).clamp_min(self.lowest)
