"""What is known of numbers that come batch by batch, in memory that does not grow with them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

GATHER = 64
"""Batches that are added up together, so that a step pays for none of it."""


@dataclass(frozen=True)
class Summary:
    """Of N numbers: their mean, the mean squared distance from it, and the extremes."""

    count: int
    mean: float
    variance: float
    lowest: float
    highest: float


class Running:
    """Adds up numbers without keeping them, and without waiting for the device.

    The variance is updated from the means and squared distances of the parts. Sums are in float64
    where the device has it. What is added is cut off from the gradient: it would hold on to all
    that a step has computed.

    Source: Chan, Golub and LeVeque (1983), "Algorithms for Computing the Sample Variance".
    """

    def __init__(self) -> None:
        self._new: list[Tensor] = []
        self._count = 0
        self._known: Tensor | None = None
        """Mean, sum of squared distances from it, lowest and highest, (4,)."""

    def add(self, values: Tensor) -> None:
        """Add numbers of any shape, at least one."""
        self._new.append(values.detach().flatten())
        if len(self._new) >= GATHER:
            self._fold()

    def read(self) -> Summary | None:
        """What is known so far; waits for the device. None if nothing was ever added."""
        self._fold()
        if self._known is None:
            return None
        mean, apart, lowest, highest = self._known.tolist()
        return Summary(self._count, mean, max(0.0, apart / self._count), lowest, highest)

    def _fold(self) -> None:
        if not self._new:
            return
        values = torch.cat(self._new)
        values = values.to(torch.float32 if values.device.type == "mps" else torch.float64)
        self._new = []
        count, mean = values.numel(), values.mean()
        apart = (values - mean).square().sum()
        lowest, highest = values.aminmax()
        if self._known is not None:
            old, spread, low, high = self._known.unbind()
            both = self._count + count
            step = mean - old
            apart = apart + spread + step.square() * (self._count * count / both)
            mean = old + step * (count / both)
            lowest, highest = torch.minimum(lowest, low), torch.maximum(highest, high)
        self._known = torch.stack([mean, apart, lowest, highest])
        self._count += count


def total(summary: Summary | None) -> int:
    """How many of the numbers were 1, of numbers that are 0 or 1."""
    return 0 if summary is None else math.floor(summary.mean * summary.count + 0.5)
