"""A matrix in blocks is the matrix, to the bit, however many threads there are."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array

from boggers.graph import blocks, sparse
from boggers.graph.blocks import RowBlocks
from boggers.graph.living import LivingGraph


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("cached", [1, 1 << 20])
@pytest.mark.parametrize("rows", [1, 7, 64, 5_000])
@pytest.mark.parametrize(
    ("count", "entries"), [(2, 9), (200, 3_000), (1_001, 500), (1_001, 60_000)]
)
def test_a_product_is_that_of_the_matrix(
    count: int, entries: int, rows: int, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "CACHED", cached)
    random = np.random.default_rng(count + entries)
    places = random.integers(0, count, (2, entries))
    plain = coo_array((random.normal(size=entries), tuple(places)), shape=(count, count)).tocsr()
    values = random.normal(size=count)
    assert np.array_equal(RowBlocks(plain, rows) @ values, plain @ values)


@pytest.mark.usefixtures("threads")
def test_blocks_are_enough_for_every_thread_and_no_more_than_the_entries_pay_for() -> None:
    few = coo_array((np.ones(40), (np.arange(40), np.arange(40))), shape=(40, 40)).tocsr()
    assert len(RowBlocks(few, 2)._parts) == 1
    many = coo_array(np.ones((40, 40))).tocsr()
    assert len(RowBlocks(many, 2)._parts) == 20
    assert len(RowBlocks(many)._parts) == torch.get_num_threads()


def test_a_graph_in_blocks_lives_as_one_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def lived(large: int) -> np.ndarray:
        monkeypatch.setattr(sparse, "LARGE", large)
        monkeypatch.setattr(blocks, "CACHED", large)
        random = np.random.default_rng(3)
        source, target = random.integers(0, 3_000, (2, 20_000), dtype=np.int32)
        graph = LivingGraph.from_arrays(
            map(str, range(3_000)), random.random(3_000), source, target, random.random(20_000)
        )
        for number in range(4):
            graph.propagate()
            graph.add_node(f"new {number}")
            graph.add_edge(f"new {number}", str(number), 0.5)
        graph.remove_edges(graph.edge_arrays[2] < 0.1)
        graph.propagate()
        in_blocks = isinstance(graph._edges._matrix, RowBlocks)
        assert in_blocks == (large == 1)
        return graph.activation.copy()

    assert np.array_equal(lived(1), lived(1 << 22))
