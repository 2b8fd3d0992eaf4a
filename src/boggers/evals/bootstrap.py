"""How sure a figure is: intervals by resampling stretches of text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boggers.errors import UserError

BLOCK = 128
"""Tokens that are drawn together: neighbours are alike, so single tokens would seem too sure."""

RESAMPLES = 2000
LEVEL = 0.95

T_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % quantiles of Student's t with 1 to 30 degrees of freedom."""

Values = NDArray[Any]


@dataclass(frozen=True)
class Interval:
    """A figure between the bounds that it keeps to in 95 % of resamples.

    Attributes:
        value: the figure on all data.
        low, high: the bounds.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the figure differs from zero beyond chance."""
        return self.low > 0.0 or self.high < 0.0


def ratio(
    above: Values, below: Values, scale: float = 1.0, *, block: int = BLOCK, seed: int = 0
) -> Interval:
    """Σ above / Σ below · scale over tokens in order, such as nats over bytes; a block bootstrap.

    The stretch is cut into blocks of neighbouring tokens; as many blocks as there are are drawn
    with replacement, 2,000 times.

    Args:
        above, below: (N,).
        block: tokens a block; shorter where there would be fewer than 20 blocks.
        seed: of the resampling.

    Source: Künsch (1989), with blocks that do not overlap.
    """
    sums = np.stack([block_sums(above, block), block_sums(below, block)])
    drawn = sums[:, draws(sums.shape[1], seed)].sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = drawn[0] / drawn[1] * scale
    low, high = _bounds(found[np.isfinite(found)])
    return Interval(float(sums[0].sum() / sums[1].sum() * scale), low, high)


def mean(values: Values, *, block: int = BLOCK, seed: int = 0) -> Interval:
    """The mean of values in order; see `ratio`."""
    return ratio(values, np.ones(len(values)), block=block, seed=seed)


def block_sums(values: Values, block: int = BLOCK) -> NDArray[np.float64]:
    """Sums over neighbouring values, the last block perhaps shorter."""
    size = block_size(len(values), block)
    return np.add.reduceat(values.astype(np.float64), np.arange(0, len(values), size))


def block_size(count: int, block: int = BLOCK) -> int:
    """Tokens a block: `block`, or fewer where that left fewer than 20 blocks."""
    return max(1, min(block, count // 20))


def draws(blocks: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """Which blocks each resample holds, (resamples, blocks)."""
    return np.random.default_rng(seed).integers(0, blocks, (resamples, blocks))


def of_repetitions(values: Sequence[float]) -> Interval:
    """The mean of a few independent repetitions, such as seeds, with Student's t interval.

        mean ± t · s / √n

    With one repetition the bounds are infinite: nothing is known of the spread.

    Raises:
        UserError: no values.
    """
    if not values:
        raise UserError("An interval needs at least one value, none came.")
    count = len(values)
    centre = float(np.mean(values))
    if count == 1:
        return Interval(centre, -math.inf, math.inf)
    quantile = T_QUANTILES[count - 2] if count - 2 < len(T_QUANTILES) else 1.96
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(centre, centre - half, centre + half)


def _bounds(found: NDArray[np.float64]) -> tuple[float, float]:
    if not len(found):
        return -math.inf, math.inf
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
