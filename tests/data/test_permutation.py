import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boggers.data.permutation import Permutation


@given(st.integers(1, 5000), st.integers(0, 2**63), st.integers(0, 1000))
def test_it_is_a_bijection(n: int, seed: int, epoch: int) -> None:
    found = Permutation.of(n, seed, epoch)(np.arange(n))
    assert np.array_equal(np.sort(found), np.arange(n))


@pytest.mark.parametrize("n", [65_535, 65_536, 65_537, 300_007])
def test_it_is_a_bijection_of_many(n: int) -> None:
    found = Permutation.of(n, 42, 0)(np.arange(n))
    assert np.bincount(found, minlength=n).tolist() == [1] * n


def test_every_place_is_computed_by_itself() -> None:
    order = Permutation.of(1000, 7, 3)
    whole = order(np.arange(1000))
    assert [int(order(np.array([i]))[0]) for i in range(0, 1000, 97)] == whole[::97].tolist()
    assert np.array_equal(order(np.arange(1000).reshape(10, 100)), whole.reshape(10, 100))


def test_it_needs_no_memory_however_many_there_are() -> None:
    found = Permutation.of(10**13, 1, 1)(np.arange(10_000))
    assert len(set(found.tolist())) == 10_000
    assert found.min() >= 0
    assert found.max() < 10**13
    assert 0.4e13 < found.mean() < 0.6e13


def test_it_looks_shuffled() -> None:
    n = 20_000
    found = Permutation.of(n, 3, 0)(np.arange(n)).astype(np.float64)
    assert abs(np.corrcoef(found, np.arange(n))[0, 1]) < 0.03
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.03
    # Fixed points of a random permutation: one on average.
    assert (found == np.arange(n)).sum() < 10


def test_seed_and_epoch_change_it() -> None:
    places = np.arange(500)
    orders = [Permutation.of(500, *key)(places) for key in ((1, 0), (1, 1), (2, 0), (1, 0))]
    assert np.array_equal(orders[0], orders[3])
    for other in orders[1:3]:
        assert (orders[0] == other).mean() < 0.05


def test_it_is_the_same_on_every_machine() -> None:
    assert Permutation.of(10, 42, 0)(np.arange(10)).tolist() == KNOWN


KNOWN = [4, 2, 8, 7, 3, 0, 5, 6, 9, 1]
