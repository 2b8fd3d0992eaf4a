import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boggers.train.running import GATHER, Running, total


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=4), min_size=1, max_size=150))
def test_it_knows_what_it_has_not_kept(batches: list[list[float]]) -> None:
    running = Running()
    for batch in batches:
        running.add(torch.tensor(batch, dtype=torch.float64))
    every = torch.tensor([number for batch in batches for number in batch], dtype=torch.float64)
    found = running.read()
    assert found is not None
    assert found.count == len(every)
    assert found.mean == pytest.approx(float(every.mean()), abs=1e-9)
    assert found.variance == pytest.approx(float(every.var(correction=0)), rel=1e-9, abs=1e-7)
    assert (found.lowest, found.highest) == (float(every.min()), float(every.max()))
    assert running.read() == found


def test_nothing_was_added() -> None:
    assert Running().read() is None
    assert total(None) == 0


def test_flags_are_counted() -> None:
    running = Running()
    for number in range(3 * GATHER + 5):
        running.add(torch.tensor(number % 3 == 0))
    assert total(running.read()) == (3 * GATHER + 5 + 2) // 3


def test_neither_numbers_nor_their_graphs_are_kept() -> None:
    running = Running()
    weight = torch.ones(5, requires_grad=True)
    for _ in range(10 * GATHER):
        running.add((weight * 2).sum())
    assert len(running._new) == 0
    running.add((weight * 2).sum())
    assert not running._new[0].requires_grad
