"""What counting achieves: a smoothed unigram, and interpolated modified Kneser–Ney.

Written here because the libraries at hand do not fit: nltk's Kneser–Ney is the unmodified one, in
pure Python dictionaries, and minutes slow on half a million tokens; kenlm's wheels only query a
model, and the program that estimates one must be compiled. This one sorts arrays: half a million
tokens take a trigram a third of a second.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boggers.errors import UserError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


class Unigram:
    """p(w) = (count(w) + 1) / (N + V), blind to context."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def fit(self, ids: NDArray[Any]) -> "Unigram":
        """Count the training ids."""
        counts = np.bincount(ids.astype(np.int64), minlength=self.vocab_size)
        self.probabilities = (counts + 1) / (counts.sum() + self.vocab_size)
        return self

    def nats(self, ids: NDArray[Any], start: int, stop: int) -> float:
        """Total -ln p of ids[start:stop]."""
        return float(-np.log(self.probabilities[ids[start:stop].astype(np.int64)]).sum())


@dataclass(frozen=True)
class _Level:
    """N-grams of one length, by their number among the sorted different ones.

    Attributes:
        packed: (G,) sorted; context number · V + last id.
        counts: (G,) how often (longest order) or after how many different ids (lower orders).
        discounts: D₁, D₂, D₃₊ at the places 1 to 3; place 0 is 0.
        context_total: (C,) sum of counts over the n-grams of each context.
        back_off: (C,) the probability that each context leaves to the shorter one.
    """

    packed: Counts
    counts: Counts
    discounts: Floats
    context_total: Floats
    back_off: Floats


class KneserNey:
    """Interpolated modified Kneser–Ney of any order (Chen & Goodman 1998, §3).

        p(w | c) = max(count(c w) - D(count), 0) / count(c) + γ(c) p(w | c without its first id)

    Orders below the highest count in how many different contexts an n-gram occurs. D₁, D₂, D₃₊ come
    from the counts of counts of each order; the shortest context backs off to the uniform 1/V.

    Args:
        order: ids of the longest n-gram, 1 to 5.
        vocab_size: V.
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        if not 1 <= order <= 5:
            raise UserError(f"The order of an n-gram model must be from 1 to 5, {order} came.")
        self.order = order
        self.vocab_size = vocab_size

    def fit(self, ids: NDArray[Any]) -> "KneserNey":
        """Count the training ids, O(order · n log n) in time and O(order · n) in memory."""
        tokens = ids.astype(np.int64)
        numbers = self._number(tokens)
        self._levels = []
        for length in range(1, self.order + 1):
            counts = self._counts(numbers, length)
            contexts = numbers.uniques[length - 1] // self.vocab_size
            total = len(numbers.uniques[length - 2]) if length > 1 else 1
            self._levels.append(_level(numbers.uniques[length - 1], counts, contexts, total))
        return self

    def nats(self, ids: NDArray[Any], start: int, stop: int) -> float:
        """Total -ln p of ids[start:stop]; contexts may reach before `start`."""
        return float(-np.log(self.probabilities(ids, start, stop)).sum())

    def probabilities(self, ids: NDArray[Any], start: int, stop: int) -> Floats:
        """p of every id in ids[start:stop] given the ids before it, (stop - start,)."""
        reach = min(self.order - 1, start)
        tokens = ids[start - reach : stop].astype(np.int64)
        count = stop - start
        last = tokens[reach:]
        # The same back-off chain for all positions at once, from the shortest context up.
        found = np.full(count, 1.0 / self.vocab_size)
        for length in range(1, self.order + 1):
            context = self._context_number(tokens, reach, length - 1, count)
            found = _interpolate(self._levels[length - 1], context, last, self.vocab_size, found)
        return found

    def distribution(self, context: list[int]) -> Floats:
        """p of every id after a context, (V,)."""
        ids = np.array([*context, 0])
        found = np.full(self.vocab_size, 1.0 / self.vocab_size)
        every = np.arange(self.vocab_size)
        for length in range(1, self.order + 1):
            number = self._context_number(ids, len(context), length - 1, 1)
            numbers = np.repeat(number, self.vocab_size)
            found = _interpolate(self._levels[length - 1], numbers, every, self.vocab_size, found)
        return found

    @dataclass(frozen=True)
    class _Numbers:
        """For every length the different n-grams, and which one ends at each place."""

        uniques: list[Counts]
        ending: list[Counts]

    def _number(self, tokens: Counts) -> _Numbers:
        uniques: list[Counts] = []
        ending: list[Counts] = []
        before = np.zeros(len(tokens), dtype=np.int64)
        for length in range(1, self.order + 1):
            packed = before[: len(tokens) - length + 1] * self.vocab_size + tokens[length - 1 :]
            different, inverse = np.unique(packed, return_inverse=True)
            uniques.append(different)
            ending.append(inverse)
            # The context of the n-gram that ends one place later.
            before = inverse
        return self._Numbers(uniques, ending)

    def _counts(self, numbers: _Numbers, length: int) -> Counts:
        """Occurrences at the longest order, different ids to the left below it."""
        size = len(numbers.uniques[length - 1])
        if length == self.order:
            return np.bincount(numbers.ending[length - 1], minlength=size)
        # An n-gram one longer ends at the same place; its distinct first ids are what counts.
        longer = numbers.ending[length]
        first_of_each = np.unique(longer, return_index=True)[1]
        shorter = numbers.ending[length - 1][1:][first_of_each]
        return np.bincount(shorter, minlength=size)

    def _context_number(self, tokens: Counts, reach: int, length: int, count: int) -> Counts:
        """Which n-gram the `length` ids before each place are; -1 where it was never seen."""
        if length > reach:
            seen = np.zeros(count, dtype=bool)
            seen[length - reach :] = True
        else:
            seen = np.ones(count, dtype=bool)
        places = np.arange(count) + reach
        number = np.zeros(count, dtype=np.int64)
        for back in range(length, 0, -1):
            packed = number * self.vocab_size + tokens[np.maximum(places - back, 0)]
            number, hit = _find(self._levels[length - back].packed, packed)
            seen &= hit
        return np.where(seen, number, -1)


def _level(packed: Counts, counts: Counts, contexts: Counts, n_contexts: int) -> _Level:
    discounts = _discounts(counts)
    taken = discounts[np.minimum(counts, 3)]
    total = np.bincount(contexts, weights=counts, minlength=n_contexts).astype(np.float64)
    removed = np.bincount(contexts, weights=taken, minlength=n_contexts)
    return _Level(packed, counts, discounts, total, removed / np.maximum(total, 1))


def _discounts(counts: Counts) -> Floats:
    """D₁, D₂, D₃₊ from the counts of counts n₁ to n₄.

        D_k = k - (k + 1) Y n_{k+1} / n_k,   Y = n₁ / (n₁ + 2 n₂)

    Where one of the four is missing, the text is too small to tell them apart: all are then the
    one discount Y of the unmodified method, or 0.75 where that cannot be told either.
    """
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if not (n1 and n2):
        return np.array([0.0, 0.75, 0.75, 0.75])
    ratio = n1 / (n1 + 2 * n2)
    if not (n3 and n4):
        return np.array([0.0, ratio, ratio, ratio])
    d1 = 1 - 2 * ratio * n2 / n1
    d2 = 2 - 3 * ratio * n3 / n2
    d3 = 3 - 4 * ratio * n4 / n3
    # Estimates of small texts may leave the range in which probabilities stay proper.
    return np.array([0.0, min(max(d1, 0.1), 1.0), min(max(d2, 0.1), 2.0), min(max(d3, 0.1), 3.0)])


def _interpolate(
    level: _Level, context: Counts, last: Counts, vocab_size: int, shorter: Floats
) -> Floats:
    """One order on top of the shorter one; an unseen context adds nothing."""
    if len(level.packed) == 0:
        return shorter
    seen = (context >= 0) & (level.context_total[np.maximum(context, 0)] > 0)
    context = np.where(seen, context, 0)
    place, hit = _find(level.packed, context * vocab_size + last)
    counts = np.where(hit, level.counts[place], 0)
    own = np.maximum(counts - level.discounts[np.minimum(counts, 3)], 0.0)
    total = np.maximum(level.context_total[context], 1.0)
    return np.where(seen, own / total + level.back_off[context] * shorter, shorter)


def _find(table: Counts, wanted: Counts) -> tuple[Counts, NDArray[np.bool_]]:
    """Where each wanted number stands in a sorted table, and whether it does."""
    if len(table) == 0:
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=np.bool_)
    place = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return place, table[place] == wanted


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """nats / ln 2 / bytes."""
    return nats / math.log(2.0) / n_bytes
