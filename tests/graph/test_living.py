"""The living graph against the numbers of TS-Core, a dense reference, and its own laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boggers.errors import UserError
from boggers.graph.living import LivingGraph
from boggers.graph.stopping import run_until_stable
from boggers.graph.tscore import (
    bootstrap,
    evolve_dynamic_node,
    evolve_kernel_wave12,
    evolve_language_ritual,
    evolve_persistent_wave,
    factory_evolve,
    phase,
    startup_validation,
    wave12,
)
from tests.graph.golden import built, canonical, close, golden, same_activations

CASES = golden("tscore_propagate")["cases"]


@pytest.mark.parametrize("name", CASES)
def test_propagation_matches_the_original(name: str) -> None:
    case = CASES[name]
    graph = built(case)
    assert close(graph.tension(), case["tension_0"])
    for expected in case["ticks"]:
        tick = graph.propagate()
        assert tick.tick == expected["tick"]
        assert close(tick.tension, expected["tension"])
        assert same_activations(graph, expected["activation"])
    assert dict(zip(graph.names, graph.stability, strict=True)) == case["stability_after"]


def test_the_bootstrap_graph_matches_the_original() -> None:
    expected = golden("tscore_bootstrap")
    graph = bootstrap()
    assert [list(edge) for edge in graph.edges()] == expected["edges"]
    for name, record in expected["nodes"].items():
        node = graph.node(name)
        assert {"activation": node.activation, "stability": node.stability} == record
    relaxed, validation = startup_validation(graph), expected["startup_validation"]
    assert close(relaxed.tension_before, validation["tension_before"])
    assert close(relaxed.tension_after_relax, validation["tension_after_relax"])
    assert relaxed.ok is validation["ok"]
    assert graph.tick == 0
    names = []
    for tick in expected["ticks"]:
        assert close(graph.propagate().tension, tick["tension"])
        assert same_activations(graph, tick["activation"])
        names.append(phase(graph.tick))
    assert names[: len(expected["phases_logged"])] == expected["phases_logged"]


def test_evolving_matches_the_original() -> None:
    expected = golden("tscore_evolve")
    first = expected["factory_evolve_tick0"]
    graph = bootstrap()
    assert close(graph.tension(), first["tension_before"])
    name = factory_evolve(graph, 1_700_000_000, overwrite=True)
    assert canonical(name) == "evolve_0_<unix>"
    assert close(graph.tension(), first["tension_after"])
    assert same_activations(graph, first["nodes"])
    edges = [[source, canonical(target), weight] for source, target, weight in graph.edges()]
    assert edges == first["edges"]
    again = expected["second_evolve_same_tick_same_second"]
    nodes, count = len(graph), graph.num_edges
    factory_evolve(graph, 1_700_000_000, overwrite=True)
    assert (len(graph) - nodes, graph.num_edges - count) == (
        again["nodes_added"],
        again["edges_added"],
    )


def test_evolving_twice_in_a_second_adds_two_nodes_by_default() -> None:
    graph = bootstrap()
    assert factory_evolve(graph, 7) != factory_evolve(graph, 7)
    assert (len(graph), graph.num_edges) == (6, 5)


def test_the_evolve_family_matches_the_original() -> None:
    graph = bootstrap()
    graph.add_node("evolve_x", 0.5, 0.5)
    assert evolve_language_ritual(graph)
    assert evolve_kernel_wave12(graph)
    assert evolve_persistent_wave(graph)
    assert evolve_dynamic_node(graph, "evolve_x")
    assert not evolve_dynamic_node(graph, "ts_native")
    assert not evolve_language_ritual(LivingGraph())
    for name, record in golden("tscore_evolve")["fireproof"].items():
        node = graph.node(name)
        found = {"activation": node.activation, "stability": node.stability, **node.attributes}
        assert found == record


def test_an_edge_to_a_missing_root_waits_for_it() -> None:
    expected = golden("tscore_evolve")["without_ts_native"]
    graph = LivingGraph()
    graph.add_node("a")
    name = factory_evolve(graph, 1)
    assert [canonical(n) for n in graph.names] == expected["nodes"]
    assert [(s, canonical(t)) for s, t, _ in graph.edges()] == [
        tuple(edge[:2]) for edge in expected["edges"]
    ]
    before = graph.activation.copy()
    graph.propagate()
    assert close(graph.activation, before)
    graph.add_node("ts_native", 1.0)
    graph.propagate()
    assert graph.node(name).activation > 0.55


def test_running_until_stable_matches_the_original() -> None:
    graph = bootstrap()
    first = run_until_stable(graph, criterion="tension")
    assert (first.ticks, first.reason) == (22, "tension unchanged")
    assert close(first.tension, 1.4962282936795812e-05)
    second = run_until_stable(graph, criterion="tension")
    assert (second.ticks, second.tick) == (2, 24)


@pytest.mark.parametrize(
    ("name", "damping", "ticks", "tension"),
    [
        ("pair_d050_one_step", 0.5, 2, 0.0),
        ("pair_d100_two_cycle", 1.0, 2, 0.5),
        ("two_components", 0.35, 4, 0.4000008201241592),
    ],
)
def test_the_criterion_of_the_original_accepts_what_it_accepted(
    name: str, damping: float, ticks: int, tension: float
) -> None:
    graph = built(CASES[name])
    ended = run_until_stable(graph, criterion="tension")
    assert graph.damping == damping
    assert ended.ticks == ticks
    assert close(ended.tension, tension)


def test_our_criterion_asks_the_activations_and_says_why_it_stopped() -> None:
    assert run_until_stable(built(CASES["pair_d100_two_cycle"])).reason == "swinging"
    calm = run_until_stable(bootstrap())
    assert (calm.reason, calm.stable) == ("at rest", True)
    assert calm.moved < 1e-5
    short = run_until_stable(bootstrap(), max_ticks=11)
    assert (short.reason, short.stable, short.ticks) == ("out of ticks", False, 11)
    assert run_until_stable(bootstrap(), max_ticks=0).ticks == 0
    assert run_until_stable(LivingGraph()).reason == "at rest"
    with pytest.raises(UserError, match="at least 0"):
        run_until_stable(bootstrap(), max_ticks=-1)


def test_a_driven_quantum_feeds_the_strongest_node() -> None:
    graph = bootstrap()
    graph.activation[:] = [0.2, 0.2, 0.2, 0.2]
    quantum = wave12(graph)
    assert quantum.strongest == "ts_native"
    assert graph.activation.mean() > 0.2
    assert quantum.ok
    assert graph.tick == 1
    assert wave12(LivingGraph()).strongest is None


graphs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0, 1), min_size=n, max_size=n),
        st.lists(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.floats(0.01, 3)),
            max_size=30,
        ),
        st.floats(0, 1),
    )
)


def dense(count: int, edges: list[tuple[int, int, float]]) -> np.ndarray:
    weights = np.zeros((count, count))
    for i, j, w in edges:
        weights[i, j] += w
        if i != j:
            weights[j, i] += w
    return weights


def living(start: list[float], edges: list[tuple[int, int, float]], damping: float) -> LivingGraph:
    graph = LivingGraph(damping)
    for number, value in enumerate(start):
        graph.add_node(str(number), value)
    for i, j, w in edges:
        graph.add_edge(str(i), str(j), w)
    return graph


@settings(max_examples=60, deadline=None)
@given(graphs)
def test_a_tick_is_the_dense_formula(
    drawn: tuple[list[float], list[tuple[int, int, float]], float],
) -> None:
    start, edges, damping = drawn
    graph = living(start, edges, damping)
    weights = dense(len(start), edges)
    degree = weights.sum(1)
    values = np.array(start)
    mean = np.divide(weights @ values, degree, out=values.copy(), where=degree > 0)
    graph.propagate()
    assert close(graph.activation, (1 - damping) * values + damping * mean)
    assert close(graph.degree, degree)
    assert graph.tension() == pytest.approx(float(np.std(graph.activation)))


@settings(max_examples=40, deadline=None)
@given(graphs)
def test_a_tick_conserves_what_it_should_and_sees_no_order(
    drawn: tuple[list[float], list[tuple[int, int, float]], float],
) -> None:
    start, edges, damping = drawn
    graph = living(start, edges, damping)
    held = float(graph.degree @ graph.activation)
    turned = living(start, [(j, i, w) for i, j, w in edges], damping)
    last = len(start) - 1
    mirrored = living(start[::-1], [(last - i, last - j, w) for i, j, w in edges[::-1]], damping)
    for each in (graph, turned, mirrored):
        each.propagate()
    assert float(graph.degree @ graph.activation) == pytest.approx(held, abs=1e-12)
    assert close(turned.activation, graph.activation)
    assert close(mirrored.activation[::-1], graph.activation)


@pytest.mark.parametrize("small", [0, 4096])
def test_a_growing_graph_equals_one_built_at_once(
    small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boggers.graph.sparse.SMALL", small)
    random = np.random.default_rng(3)
    grown = LivingGraph()
    edges: list[tuple[int, int, float]] = []
    start = random.random(300)
    for number, value in enumerate(start):
        grown.add_node(str(number), value)
        edges.append((number, int(random.integers(0, number + 1)), float(random.random())))
        i, j, w = edges[-1]
        grown.add_edge(str(i), str(j), w)
        if number % 7 == 0:
            grown.neighbour_mean()
    source, target, weight = (np.array(column) for column in zip(*edges, strict=True))
    whole = LivingGraph.from_arrays(map(str, range(300)), start, source, target, weight)
    assert close(grown.propagate().tension, whole.propagate().tension)
    assert close(grown.activation, whole.activation)
    doomed = np.arange(300) % 3 == 0
    grown.remove_edges(doomed)
    left = [edge for edge, gone in zip(edges, doomed, strict=True) if not gone]
    assert close(grown.degree, dense(300, left).sum(1))


def test_what_cannot_be_in_a_graph_is_refused() -> None:
    graph = LivingGraph()
    graph.add_node("a")
    with pytest.raises(UserError, match=r"'b' does not\. Add it first"):
        graph.add_edge("a", "b")
    with pytest.raises(UserError, match="finite"):
        graph.add_node("b", float("nan"))
    with pytest.raises(UserError, match="no node 'b'"):
        graph.node("b")
    with pytest.raises(UserError, match="must join nodes"):
        LivingGraph.from_arrays(["a"], np.zeros(1), np.array([0]), np.array([1]), np.ones(1))
    with pytest.raises(UserError, match="one name of its own"):
        LivingGraph.from_arrays(
            ["a", "a"], np.zeros(2), np.array([], int), np.array([], int), np.array([])
        )
