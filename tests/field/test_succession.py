"""What followed the last time, against a dictionary that is filled token by token."""

import pytest
import torch
from torch import Tensor

from boggers.field.succession import NOTHING, Succession


def by_hand(tokens: list[int], orders: int) -> list[list[int]]:
    """The follower of the latest 1 … O tokens at every place, remembered without forgetting."""
    last: dict[tuple[int, ...], int] = {}
    found = []
    for place, token in enumerate(tokens):
        for order in range(1, orders + 1):
            if place >= order:
                last[tuple(tokens[place - order : place])] = token
        contexts = [tuple(tokens[: place + 1][-order:]) for order in range(1, orders + 1)]
        found.append(
            [
                last.get(context, NOTHING) if len(context) == order else NOTHING
                for order, context in enumerate(contexts, start=1)
            ]
        )
    return found


def recalled(memory: Succession, tokens: Tensor, cuts: list[int]) -> Tensor:
    """What is recalled when the text is read in pieces."""
    latest = torch.full((len(tokens), memory.orders), NOTHING)
    before, named = memory.start(len(tokens)), []
    for piece in tokens.tensor_split(cuts, dim=1):
        found, before = memory.recall(piece, latest, before)
        latest = torch.cat([latest, piece], dim=1)[:, -memory.orders :]
        named.append(found)
    return torch.cat(named, dim=1)


def drawn(rows: int = 3, length: int = 120, vocabulary: int = 5) -> Tensor:
    return torch.randint(vocabulary, (rows, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("cuts", [[], [1], [7, 8, 50], list(range(1, 120))])
@pytest.mark.parametrize("orders", [1, 2, 4])
def test_it_recalls_what_a_dictionary_would(orders: int, cuts: list[int]) -> None:
    memory, tokens = Succession(8, orders, slots=100_003), drawn()
    expected = [by_hand(row, orders) for row in tokens.tolist()]
    assert recalled(memory, tokens, cuts).tolist() == expected


@pytest.mark.parametrize("cuts", [[3], [40, 41], list(range(1, 120))])
def test_few_slots_forget_alike_in_pieces_and_in_one(cuts: list[int]) -> None:
    memory, tokens = Succession(8, 3, slots=4), drawn(vocabulary=20)
    whole = recalled(memory, tokens, [])
    assert torch.equal(recalled(memory, tokens, cuts), whole)
    remembered = recalled(Succession(8, 3, slots=100_003), tokens, [])
    assert (whole != remembered).any()
    # What a crowded table does recall is right, or it was replaced by the same context later.
    assert ((whole == remembered) | (whole == NOTHING)).all()


def test_only_the_named_tokens_are_raised_and_by_more_where_they_suit() -> None:
    memory, tokens = Succession(8, 2, slots=64), drawn(1, 30)
    named = recalled(memory, tokens, [])
    embedding = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    unit = torch.randn(1, 30, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        raised = memory.add(torch.zeros(1, 30, 5), unit, named, embedding)
        for place in range(30):
            told = {int(y) for y in named[0, place] if y != NOTHING}
            assert set(raised[0, place].nonzero().flatten().tolist()) == told
        assert raised[raised > 0].min() == pytest.approx(1.0)  # the weight at the start
        memory.resonance.fill_(1.0)
        more = memory.add(torch.zeros(1, 30, 5), unit, named, embedding)
        suits = torch.einsum("btd,vd->btv", unit, embedding)
        changed = raised > 0
        assert ((more > raised) == (suits > 0))[changed].all()
