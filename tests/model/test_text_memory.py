"""What a text suggests, however long the stretches are in which it is read."""

import pytest
import torch
from torch import Tensor

from boggers.model import text_memory
from boggers.model.basins import Rests
from boggers.model.text_memory import TextMemory

VOCAB, WIDTH = 11, 8


def made(recency: bool = True) -> TextMemory:
    memory = TextMemory(WIDTH, VOCAB, orders=3, slots=16, recency=recency, known=0).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter += torch.randn(parameter.shape, generator=generator).double()
    return memory


def read(length: int) -> tuple[Tensor, Tensor, Tensor]:
    """States of unit length, tokens and a table."""
    generator = torch.Generator().manual_seed(length)
    unit = torch.randn(2, length, WIDTH, generator=generator).double()
    tokens = torch.randint(VOCAB, (2, length), generator=generator)
    return unit, tokens, torch.randn(VOCAB, WIDTH, generator=generator).double()


@pytest.mark.parametrize("recency", [False, True])
@pytest.mark.parametrize("length", [1, 7, 16, 17, 48, 50])
def test_the_length_of_blocks_changes_nothing(
    length: int, recency: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = made(recency)
    unit, tokens, table = read(length)
    for fresh in (True, False):
        start = memory.start(2, unit.device)
        if not fresh:
            earlier, said, _ = read(5)
            _, start = memory(Rests.in_one(earlier), said, start, table, fresh=True)
        found = []
        for block in (256, 16):
            monkeypatch.setattr(text_memory, "BLOCK", block)
            logits, _ = memory(Rests.in_one(unit), tokens, start, table, fresh=fresh)
            last, _ = memory(Rests.in_one(unit[:, -1:]), tokens, start, table, fresh=fresh)
            torch.testing.assert_close(last, logits[:, -1:], rtol=1e-12, atol=1e-12)
            found.append(logits)
        assert found[0].shape == (2, length, VOCAB)
        torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_a_long_text_costs_no_copies_of_all_logits() -> None:
    """A part changed in place would copy the whole in the backward pass, once for every part."""
    memory = made()
    unit, tokens, table = read(4 * text_memory.BLOCK)
    logits, _ = memory(
        Rests.in_one(unit.requires_grad_()), tokens, memory.start(2, unit.device), table, fresh=True
    )
    todo, seen = [logits.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [before for before, _ in node.next_functions]
    assert len(seen) > 20
    assert not [node.name() for node in seen if "CopySlices" in node.name()]
