"""Drawing the next token."""

from typing import Any

import pytest
import torch
from torch import Tensor

from boggers.errors import UserError
from boggers.infer.sampling import Sampling, next_ids

LOGITS = torch.tensor([[0.0, 2.0, 1.0, -1.0, 1.5]])


def draws(
    logits: Tensor, count: int = 400, history: list[int] | None = None, **options: Any
) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    sampling = Sampling(**options)
    return {next_ids(logits, [history or []], sampling, [generator])[0] for _ in range(count)}


def test_temperature_zero_takes_the_likeliest() -> None:
    assert draws(LOGITS, temperature=0) == {1}


@pytest.mark.parametrize("temperature", [1e-3, 1e-40, 1e-320])
def test_a_temperature_near_zero_approaches_the_likeliest(temperature: float) -> None:
    assert draws(LOGITS * 50, count=20, temperature=temperature) == {1}


def test_a_high_temperature_evens_the_probabilities_out() -> None:
    assert len(draws(LOGITS * 5, temperature=1.0, count=200)) < 5
    assert len(draws(LOGITS * 5, temperature=50.0, count=200)) == 5


def test_plain_draws_follow_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(1)
    found = [next_ids(LOGITS, [[]], Sampling(), [generator])[0] for _ in range(4000)]
    shares = torch.bincount(torch.tensor(found), minlength=5) / 4000
    torch.testing.assert_close(shares, LOGITS[0].softmax(dim=0), atol=0.03, rtol=0)


def test_top_k_keeps_exactly_k_even_among_equals() -> None:
    assert draws(LOGITS, top_k=2) == {1, 4}
    assert len(draws(torch.zeros(1, 5), top_k=3)) == 3


def test_top_p_keeps_the_smallest_sufficient_set() -> None:
    # Probabilities: 0.47, 0.28, 0.17, 0.06, 0.02.
    assert draws(LOGITS, top_p=0.4) == {1}
    assert draws(LOGITS, top_p=0.5) == {1, 4}
    assert draws(LOGITS, top_p=1.0) == {0, 1, 2, 3, 4}


def test_penalties_count_each_of_the_last_four_and_the_last_once_more() -> None:
    assert draws(LOGITS, temperature=0, history=[1, 0, 0, 0], repeat_penalty=0.6) == {4}
    assert draws(LOGITS, temperature=0, history=[1, 0, 0, 0, 0], repeat_penalty=0.6) == {1}
    assert draws(LOGITS, temperature=0, history=[1, 1], repeat_penalty=0.2) == {1}
    assert draws(LOGITS, temperature=0, history=[1, 1], repeat_penalty=0.4) == {4}
    assert draws(LOGITS, temperature=0, history=[0, 1], no_repeat_last_extra=1.0) == {4}


def test_rows_draw_from_their_own_generators() -> None:
    def pair(first: int, second: int) -> list[int]:
        makers = [torch.Generator().manual_seed(s) for s in (first, second)]
        return next_ids(LOGITS.repeat(2, 1) * 0.1, [[], []], Sampling(), makers)

    for seed in range(8):
        alone = next_ids(LOGITS * 0.1, [[]], Sampling(), [torch.Generator().manual_seed(seed)])
        assert pair(seed, 99)[0] == alone[0]
        assert pair(98, seed)[1] == alone[0]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"repeat_penalty": -1},
        {"no_repeat_last_extra": -0.5},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Sampling(**options)
