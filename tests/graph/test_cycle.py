"""The default cycle: every stage does something, is measured, and the whole ends."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boggers.errors import UserError
from boggers.graph.cycle import (
    CycleRule,
    WaveCycle,
    break_strained,
    evolve_between,
    generations,
    relax,
)
from boggers.graph.living import LivingGraph


def opposed() -> LivingGraph:
    """Two stubborn nodes that disagree."""
    graph = LivingGraph()
    graph.add_node("yes", 1.0, 1.0)
    graph.add_node("no", 0.0, 1.0)
    graph.add_edge("yes", "no")
    return graph


def test_each_stage_does_something_and_is_measured() -> None:
    graph = opposed()
    rule = CycleRule()
    cycle = WaveCycle(rule).run_once(graph)
    names = [stage.name for stage in cycle.stages]
    assert names == ["propagate", "relax", "break", "evolve"]
    assert all(stage.done > 0 and stage.seconds >= 0.0 for stage in cycle.stages)
    assert cycle.broken[0].gap > rule.break_gap
    assert cycle.evolved[0] in graph
    assert graph.num_edges == 2
    propagated, relaxed = cycle.stages[0], cycle.stages[1]
    assert propagated.tension != relaxed.tension


def test_stubborn_nodes_keep_their_disagreement_while_relaxing() -> None:
    graph = opposed()
    relaxed = relax(graph, CycleRule(rest=1e-9, relax_ticks=500))
    assert relaxed.at_rest
    # a = (1-d) a + d t, then a + pull (b - a), with t the other node: solved by hand
    share, pull = 0.35, 0.5
    swing = (1 - pull) * (1 - 2 * share)
    assert np.ptp(graph.activation) == pytest.approx(pull / (1 - swing), abs=1e-6)


@pytest.mark.parametrize("nodes", [0, 1, 9, 64, 65])
def test_small_and_large_graphs_relax_alike(nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(nodes)
    columns = random.random((3, nodes))
    # Some nodes have no edge, some edges are loops, and some weights pull the other way.
    source, target = random.integers(0, max(1, nodes), (2, nodes // 2), dtype=np.int32)
    weight = random.uniform(-0.3, 1.0, len(source))

    def relaxed() -> tuple[LivingGraph, object]:
        graph = LivingGraph.from_arrays(
            map(str, range(nodes)),
            columns[0].copy(),
            source,
            target,
            weight,
            stability=columns[1],
            base=columns[2],
        )
        graph.propagate()
        done = relax(graph, CycleRule(relax_ticks=11))
        return graph, (graph.tick, done.ticks, done.at_rest, round(done.moved, 12))

    small, done = relaxed()
    monkeypatch.setattr("boggers.graph.sparse.DENSE", -1)
    monkeypatch.setattr("boggers.graph.living.DENSE", -1)
    large, also = relaxed()
    assert done == also
    assert np.allclose(small.activation, large.activation, rtol=0, atol=1e-12)


def test_free_nodes_agree_and_nothing_breaks() -> None:
    graph = LivingGraph()
    for number in range(5):
        graph.add_node(str(number), number / 4, 0.0)
    for number in range(4):
        graph.add_edge(str(number), str(number + 1))
    run = WaveCycle().run(graph)
    assert run.reason == "stable"
    assert not any(cycle.broken for cycle in run.cycles)
    assert np.ptp(graph.activation) < 0.01


def test_a_node_that_grew_halves_the_gap() -> None:
    graph = opposed()
    rule = CycleRule(rest=1e-10, relax_ticks=2000, break_gap=0.05)
    relax(graph, rule)
    whole = np.ptp(graph.activation)
    names = evolve_between(graph, break_strained(graph, rule))
    relax(graph, rule)
    middle = graph.node(names[0]).activation
    ends = graph.activation[:2]
    assert middle == pytest.approx(ends.mean(), abs=1e-8)
    assert np.abs(ends - middle).max() < whole
    assert graph.node(names[0]).attributes == {"generation": 1}


def test_only_so_many_edges_break_in_a_cycle_and_the_most_strained_first() -> None:
    graph = LivingGraph()
    graph.add_node("hub", 0.0, 1.0)
    for number in range(6):
        graph.add_node(str(number), 0.4 + number / 10, 1.0)
        graph.add_edge("hub", str(number))
    broken = break_strained(graph, CycleRule(breaks=2, break_gap=0.3))
    assert [edge.target for edge in broken] == [6, 5]
    assert graph.num_edges == 4
    assert break_strained(graph, CycleRule(breaks=0)) == []


SLOWEST_REST = 400_000
"""Ticks until nothing moves by 1e-6 any more, whatever the pull: at most 1e6/e."""


@example(([(0.0, 0.001), (0.0, 0.0), (1.0, 0.0)], [(0, 2, 1.0)]), 0.5, 1.0)
@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 9).flatmap(
        lambda n: st.tuples(
            st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=n, max_size=n),
            st.lists(
                st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.floats(0.1, 2)),
                min_size=1,
                max_size=14,
            ),
        )
    ),
    st.floats(0.08, 0.6),
    st.floats(0, 1),
)
def test_the_cycle_ends_and_then_nothing_is_strained(
    drawn: tuple[list[tuple[float, float]], list[tuple[int, int, float]]], gap: float, pull: float
) -> None:
    nodes, edges = drawn
    graph = LivingGraph()
    for number, (activation, stability) in enumerate(nodes):
        graph.add_node(str(number), activation, stability)
    for source, target, weight in edges:
        graph.add_edge(str(source), str(target), weight)
    limit = generations(graph, gap)
    rule = CycleRule(break_gap=gap, pull=pull, relax_ticks=4000, rest=1e-6)
    # A weak pull needs up to 1/(e · rest) ticks to come to rest, which are several cycles' then.
    rests = len(edges) * 2**limit
    run = WaveCycle(rule).run(graph, max_cycles=rests * SLOWEST_REST // rule.relax_ticks)
    assert run.reason == "stable"
    assert sum(cycle.at_rest for cycle in run.cycles) <= rests
    broken = sum(len(cycle.broken) for cycle in run.cycles)
    assert broken <= len(edges) * (2**limit - 1)
    assert graph.num_edges == len(edges) + broken
    source, target, _ = graph.edge_arrays
    strain = np.abs(graph.activation[source] - graph.activation[target])
    assert strain.max() <= gap + 1e-3
    assert 0.0 <= graph.activation.min() <= graph.activation.max() <= 1.0


def test_a_cycle_may_run_out_of_cycles() -> None:
    run = WaveCycle(CycleRule(break_gap=0.05)).run(opposed(), max_cycles=1)
    assert (run.reason, len(run.cycles)) == ("out of cycles", 1)


@pytest.mark.parametrize(
    ("option", "value"),
    [("pull", 1.5), ("relax_ticks", 0), ("rest", 0.0), ("break_gap", 0.0), ("breaks", -1)],
)
def test_impossible_rules_are_refused(option: str, value: float) -> None:
    with pytest.raises(UserError, match=f"it is {value}"):
        CycleRule(**{option: value})
