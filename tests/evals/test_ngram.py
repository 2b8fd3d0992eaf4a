"""Kneser–Ney against a slow dictionary writing of the same equations."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from boggers.errors import UserError
from boggers.evals.ngram import KneserNey, Unigram

VOCAB = 9
RANDOM = np.random.default_rng(0)
LEARNT = np.concatenate([RANDOM.zipf(1.7, 400) % VOCAB, np.tile([1, 2, 3, 4], 20)]).astype(
    np.uint16
)
HELD_OUT = (RANDOM.zipf(1.5, 60) % VOCAB).astype(np.uint16)


class Slow:
    """The equations once more, gram by gram."""

    def __init__(self, order: int, ids: list[int]) -> None:
        self.order = order
        self.counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order + 1)]
        grams = [tuple(ids[i : i + order]) for i in range(len(ids) - order + 1)]
        self.counts[order] = Counter(grams)
        for length in range(order - 1, 0, -1):
            wider = {tuple(ids[i : i + length + 1]) for i in range(len(ids) - length)}
            self.counts[length] = Counter(gram[1:] for gram in wider)
        self.discounts = [self.discount(c) for c in self.counts]
        self.contexts: list[dict[tuple[int, ...], list[int]]] = []
        for table in self.counts:
            found: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for gram, count in table.items():
                found[gram[:-1]].append(count)
            self.contexts.append(found)

    def discount(self, table: Counter[tuple[int, ...]]) -> list[float]:
        n = [0, *(sum(1 for c in table.values() if c == k) for k in (1, 2, 3, 4))]
        if not (n[1] and n[2]):
            return [0, 0.75, 0.75, 0.75]
        y = n[1] / (n[1] + 2 * n[2])
        if 0 in n[3:]:
            return [0, y, y, y]
        d = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        return [0, *(min(max(v, 0.1), top) for v, top in zip(d, (1, 2, 3), strict=True))]

    def p(self, gram: tuple[int, ...]) -> float:
        if not gram:
            return 1 / VOCAB
        length = len(gram)
        followers = self.contexts[length].get(gram[:-1])
        if not followers:
            return self.p(gram[1:])
        d = self.discounts[length]
        count = self.counts[length][gram]
        own = max(count - d[min(count, 3)], 0) / sum(followers)
        left = sum(d[min(c, 3)] for c in followers) / sum(followers)
        return own + left * self.p(gram[1:])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_probability_equals_the_slow_one(order: int) -> None:
    fast = KneserNey(order, VOCAB).fit(LEARNT)
    slow = Slow(order, LEARNT.tolist())
    ids = np.concatenate([LEARNT[-3:], HELD_OUT])
    found = fast.probabilities(ids, 3, len(ids))
    expected = [slow.p(tuple(ids[i - order + 1 : i + 1].tolist())) for i in range(3, len(ids))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("context", [[], [1], [1, 2], [1, 2, 3], [8, 8, 8], [7, 0, 5, 6]])
def test_probabilities_sum_to_one_after_seen_and_unseen_contexts(
    order: int, context: list[int]
) -> None:
    distribution = KneserNey(order, VOCAB).fit(LEARNT).distribution(context)
    assert distribution.min() > 0
    assert distribution.sum() == pytest.approx(1.0, abs=1e-12)


def test_a_hand_computed_bigram() -> None:
    # 0 1 0 2: bigrams 01 10 02 once each; continuation counts of 0, 1, 2 are one each.
    model = KneserNey(2, 3).fit(np.array([0, 1, 0, 2]))
    unigram = 0.25 / 3 + 0.75 / 3
    assert model.distribution([0])[1] == pytest.approx(0.25 / 2 + 0.75 * unigram)
    assert model.distribution([0])[0] == pytest.approx(0.75 * unigram)


def test_contexts_before_the_start_are_used() -> None:
    model = KneserNey(3, VOCAB).fit(LEARNT)
    ids = np.concatenate([LEARNT[-5:], HELD_OUT])
    whole = model.nats(ids, 5, len(ids))
    halves = model.nats(ids, 5, 20) + model.nats(ids, 20, len(ids))
    assert whole == pytest.approx(halves, rel=1e-12)
    assert whole != pytest.approx(model.nats(HELD_OUT, 0, len(HELD_OUT)), rel=1e-6)


def test_order_helps_on_patterned_text() -> None:
    text = np.tile([0, 1, 2, 0, 3, 2], 80)
    losses = [KneserNey(n, 4).fit(text).nats(text, 4, 200) for n in (1, 2, 3)]
    assert losses[0] > losses[1] > losses[2]


def test_unigram_counts_and_sums_to_one() -> None:
    model = Unigram(VOCAB).fit(LEARNT)
    assert model.probabilities.sum() == pytest.approx(1.0)
    expected = -math.log((int((LEARNT == 2).sum()) + 1) / (len(LEARNT) + VOCAB))
    assert model.nats(np.array([2]), 0, 1) == pytest.approx(expected)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 12])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_texts_too_short_to_count_still_give_probabilities(size: int, order: int) -> None:
    learnt = np.array([1, 2, 1, 3, 1, 2, 2, 1, 1, 1, 2, 1])[:size]
    model = KneserNey(order, VOCAB).fit(learnt)
    for context in ([], [1], [1, 2], [8, 1, 2]):
        distribution = model.distribution(context)
        assert distribution.min() > 0
        assert distribution.sum() == pytest.approx(1.0, abs=1e-12)
    assert math.isfinite(model.nats(HELD_OUT, 0, len(HELD_OUT)))


def test_discounts_of_a_text_with_all_counts_of_counts() -> None:
    # Words seen once, twice, thrice, four times: 5, 3, 2, 1 of them; Y = 5 / 11.
    text = np.repeat(np.arange(11), [1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4])
    y, total = 5 / 11, len(text)
    d1, d2, d3 = 1 - 2 * y * 3 / 5, 2 - 3 * y * 2 / 3, 3 - 4 * y * 1 / 2
    left = (5 * d1 + 3 * d2 + 3 * d3) / total / 12
    found = KneserNey(1, 12).fit(text).distribution([])
    expected = [(1 - d1) / total + left, (2 - d2) / total + left, (4 - d3) / total + left, left]
    np.testing.assert_allclose(found[[0, 5, 10, 11]], expected, rtol=1e-12)


def test_an_impossible_order_is_refused() -> None:
    with pytest.raises(UserError, match="from 1 to 5"):
        KneserNey(0, VOCAB)
