"""Does a model know when it errs? Energy, residual, tension and agreement beside plain entropy."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boggers.evals.bootstrap import Interval, block_size, draws
from boggers.evals.tokens import TokenTable

SETTLED = ("energy", "residual", "tension")
"""What only a model that settles can offer; entropy is what any model has."""

BINS = 15
COVERAGES = tuple(round(0.05 * part, 2) for part in range(1, 21))
ROUNDS = 25
RIDGE = 1e-3
RESAMPLES = 300
"""Fewer than for a mean: a rank statistic costs more."""

MOST = 100_000
"""Tokens that are judged, the first of the text."""

Floats = NDArray[np.float64]
Mistakes = NDArray[np.bool_]


@dataclass(frozen=True)
class Predictor:
    """One number per token as a warning of error.

    Attributes:
        auroc: the chance that a wrong token has a larger one than a right token; 0.5 says nothing.
            Signs are learned: where a smaller number warns, it is turned around (`sign` -1).
        error_at: share of wrong tokens among the surest, by coverage (share of tokens answered).
        area: mean of these errors; the lower the better.
    """

    auroc: Interval
    sign: int
    error_at: dict[str, float]
    area: float


@dataclass(frozen=True)
class Bin:
    """Tokens of like confidence: how many, how sure, how often right."""

    tokens: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Uncertainty:
    """How well errors are foretold on `tokens` tokens, of which `error` were wrong.

    Attributes:
        error: share of tokens whose likeliest prediction was wrong.
        predictors: by name; entropy, and what settling offers besides.
        gain: AUROC of a logistic regression on entropy and all the others, minus that on entropy
            alone; both learned on the first half of the text and judged on the second.
        ece: expected calibration error of the largest probability, over 15 bins of equal size.
        bins: those bins.
    """

    tokens: int
    error: float
    predictors: dict[str, Predictor]
    gain: Interval
    ece: float
    bins: list[Bin]

    @property
    def verdict(self) -> str:
        """Whether settling knows more of its errors than entropy does."""
        own = ", ".join(name for name in self.predictors if name != "entropy")
        entropy = self.predictors["entropy"].auroc.value
        spread = f"{self.gain.value:+.4f} ({self.gain.low:+.4f} to {self.gain.high:+.4f})"
        if not own:
            return f"Entropy foretells errors with AUROC {entropy:.4f}; there is nothing beside it."
        if self.gain.low > 0:
            return (
                f"Settling knows more than entropy: {own} raise the AUROC of {entropy:.4f} by "
                f"{spread}."
            )
        return (
            f"Settling adds nothing to entropy: with {own} beside it the AUROC of {entropy:.4f} "
            f"changes by {spread}."
        )


def assess(
    table: TokenTable, rows: NDArray[Any] | None = None, extra: Mapping[str, Floats] | None = None
) -> Uncertainty:
    """Judge predictors of error on the tokens of a table.

    Args:
        table: of the held-out text; at most its first 100,000 tokens are judged.
        rows: judge these tokens only, and entropy beside `extra` only.
        extra: further predictors by name, one number for each of `rows`.
    """
    chosen: Any = slice(0, MOST) if rows is None else rows
    wrong = ~table.correct[chosen]
    values: dict[str, Floats] = {"entropy": table.entropy[chosen], **(extra or {})}
    if rows is None:
        columns = {name: getattr(table, name)[chosen] for name in SETTLED}
        # A model that takes no steps, or comes to rest exactly, has nothing to say by it.
        values |= {name: column for name, column in columns.items() if np.ptp(column) > 0}
    ece, bins = calibration(table.confidence[chosen], table.correct[chosen])
    return Uncertainty(
        tokens=len(wrong),
        error=float(wrong.mean()),
        predictors={name: _predictor(column, wrong) for name, column in values.items()},
        gain=_gain(values, wrong),
        ece=ece,
        bins=bins,
    )


def auroc(values: Floats, wrong: Mistakes) -> float:
    """The chance that a wrong token has a larger value than a right one, ties counting half.

    NaN where all tokens are right or all wrong.
    """
    return _Ranked(values, wrong).auroc(np.ones(len(values)))


class _Ranked:
    """Values put in order once, so that AUROCs of many weightings are cheap."""

    def __init__(self, values: Floats, wrong: Mistakes) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        self.starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self.wrong = wrong[self.order].astype(np.float64)

    def auroc(self, weights: Floats) -> float:
        """The AUROC in which every token counts as often as its weight says."""
        count = weights[self.order]
        bad = np.add.reduceat(count * self.wrong, self.starts)
        good = np.add.reduceat(count * (1 - self.wrong), self.starts)
        pairs = bad.sum() * good.sum()
        if pairs == 0:
            return math.nan
        below = np.cumsum(good) - good / 2
        return float((bad * below).sum() / pairs)


def calibration(confidence: Floats, correct: Mistakes, bins: int = BINS) -> tuple[float, list[Bin]]:
    """Σ_b n_b/n |accuracy_b - confidence_b| over bins of equally many tokens, and the bins.

    Source: expected calibration error (Naeini et al., 2015), with adaptive bins.
    """
    found = []
    for part in np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence))):
        found.append(Bin(len(part), float(confidence[part].mean()), float(correct[part].mean())))
    gaps = [b.tokens * abs(b.accuracy - b.confidence) for b in found]
    return sum(gaps) / len(confidence), found


def selective(values: Floats, wrong: Mistakes) -> dict[str, float]:
    """Share of wrong tokens among the share of tokens with the smallest values, by that share."""
    ordered = wrong[np.argsort(values, kind="stable")]
    mistakes = np.cumsum(ordered)
    found = {}
    for coverage in COVERAGES:
        answered = max(1, round(coverage * len(ordered)))
        found[f"{coverage:g}"] = float(mistakes[answered - 1] / answered)
    return found


def _predictor(values: Floats, wrong: Mistakes) -> Predictor:
    sign = -1 if auroc(values, wrong) < 0.5 else 1
    errors = selective(sign * values, wrong)
    return Predictor(
        auroc=_resampled(_Ranked(sign * values, wrong).auroc, len(wrong)),
        sign=sign,
        error_at=errors,
        area=float(np.mean(list(errors.values()))),
    )


def _gain(values: Mapping[str, Floats], wrong: Mistakes) -> Interval:
    """AUROC of all predictors together minus that of entropy alone, learned and judged apart."""
    half = len(wrong) // 2
    learn, judge = slice(0, half), slice(half, None)
    everything = np.stack([_standardised(column) for column in values.values()], axis=1)
    with_all = _Ranked(_scores(everything, wrong, learn)[judge], wrong[judge])
    with_entropy = _Ranked(_scores(everything[:, :1], wrong, learn)[judge], wrong[judge])
    return _resampled(lambda w: with_all.auroc(w) - with_entropy.auroc(w), len(wrong) - half)


def _scores(columns: Floats, wrong: Mistakes, learn: slice) -> Floats:
    """Log-odds of error by a ridge logistic regression, fitted on a part (Newton's method)."""
    design = np.concatenate([np.ones((len(columns), 1)), columns], axis=1)
    part, target = design[learn], wrong[learn].astype(np.float64)
    weights = np.zeros(design.shape[1])
    penalty = RIDGE * np.eye(len(weights)) * len(target)
    penalty[0, 0] = 1e-9
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(part @ weights, -30, 30)))
        slope = part.T @ (chance - target) + penalty @ weights
        curve = (part * (chance * (1 - chance))[:, None]).T @ part + penalty
        weights = weights - np.linalg.solve(curve, slope)
    found: Floats = design @ weights
    return found


def _standardised(column: Floats) -> Floats:
    """By rank, so that no unit and no outlier decides."""
    order = np.argsort(np.argsort(column, kind="stable"), kind="stable")
    return (order + 0.5) / len(column) * 2 - 1


def _resampled(statistic: Callable[[Floats], float], count: int) -> Interval:
    """A statistic of weighted tokens between its bounds over resampled blocks of neighbours."""
    block = np.arange(count) // block_size(count)
    blocks = int(block[-1]) + 1
    found = [
        statistic(np.bincount(drawn, minlength=blocks)[block].astype(np.float64))
        for drawn in draws(blocks, 0, RESAMPLES)
    ]
    whole = statistic(np.ones(count))
    kept = np.array([value for value in found if math.isfinite(value)])
    if not len(kept):
        return Interval(whole, -math.inf, math.inf)
    low, high = np.quantile(kept, [0.025, 0.975])
    return Interval(whole, float(low), float(high))
