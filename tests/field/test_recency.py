"""Fading counts, against the recurrence that defines them."""

import math

import pytest
import torch
from torch import Tensor

from boggers.field.recency import SPANS, Recency

VOCAB = 7


def lively() -> Recency:
    made = Recency(4, VOCAB).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return made


def by_hand(made: Recency, tokens: Tensor, unit: Tensor) -> Tensor:
    """Token by token, from the equation."""
    counts = torch.zeros(len(tokens), len(SPANS), VOCAB, dtype=torch.float64)
    fade = torch.exp(-1 / torch.tensor(SPANS, dtype=torch.float64))
    logits = []
    for place in range(tokens.shape[1]):
        said = torch.nn.functional.one_hot(tokens[:, place], VOCAB)
        counts = fade[:, None] * counts + said[:, None]
        weights = unit[:, place] @ made.weight.view(len(SPANS), -1).T / math.sqrt(4) + made.bias
        logits.append(torch.einsum("br,brv->bv", weights, counts))
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize("cut", [None, 1, 13, 39])
def test_every_way_of_reading_follows_the_equation(cut: int | None) -> None:
    made = lively()
    tokens, unit = read()
    expected = by_hand(made, tokens, unit)
    pieces = [slice(0, 40)] if cut is None else [slice(0, cut), slice(cut, 40)]
    before = None
    for piece in pieces:
        nothing = torch.zeros_like(expected[:, piece])
        found = made.add(nothing, unit[:, piece], tokens[:, piece], before)
        torch.testing.assert_close(found, expected[:, piece], rtol=1e-12, atol=1e-12)
        before = made.after(tokens[:, piece], before)
    now = made.add_now(torch.zeros_like(expected[:, :1]), unit[:, -1:], before)
    torch.testing.assert_close(now, expected[:, -1:], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("after", [False, True])
def test_blocks_know_what_was_said_before_them(after: bool) -> None:
    made = lively()
    tokens, _ = read()
    before = made.after(tokens.flip(1), None) if after else None
    found = made.before_blocks(tokens.view(2, 5, 8), before).view(2, 5, len(SPANS), VOCAB)
    for block in range(5):
        expected = made.after(tokens[:, : 8 * block], before)
        torch.testing.assert_close(found[:, block], expected, rtol=1e-12, atol=1e-12)


def read() -> tuple[Tensor, Tensor]:
    """Two texts of 40 tokens and the states there."""
    tokens = torch.randint(VOCAB, (2, 40), generator=torch.Generator().manual_seed(2))
    return tokens, torch.randn(2, 40, 4, generator=torch.Generator().manual_seed(3)).double()


def test_a_new_one_says_nothing() -> None:
    made = Recency(4, VOCAB)
    tokens, unit = torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, 4)
    assert not made.add(torch.zeros(1, 3, VOCAB), unit, tokens, None).any()
