"""The two earlier runners against their own numbers."""

from typing import Any

import numpy as np
import pytest

from boggers.errors import UserError
from boggers.graph.living import LivingGraph
from boggers.graph.runners import WaveCycleRunner, run_wave, spread
from tests.graph.golden import close, golden

GOLDEN = golden("ulg_wave_cycle")


def made(case: dict[str, Any]) -> LivingGraph:
    graph = LivingGraph()
    for name, activation, stability, base, *more in case["nodes"]:
        known = dict(zip(("content", "topics", "type"), more, strict=False))
        graph.add_node(name, activation, stability, base=base, attributes=known)
    for source, target, weight in case["edges"]:
        graph.add_edge(source, target, weight)
    return graph


def same(graph: LivingGraph, cycle: dict[str, Any]) -> bool:
    assert graph.names == list(cycle["nodes"])
    assert [list(edge) for edge in graph.edges()] == cycle["edges"]
    for name, record in cycle["nodes"].items():
        node = graph.node(name)
        assert close(
            [node.activation, node.stability, node.base],
            [record["activation"], record["stability"], record["base_strength"]],
        )
        assert node.attributes.get("collapsed", False) == record["collapsed"]
        assert node.attributes.get("last_wave", 0) == record["last_wave"]
        assert node.attributes.get("type") == record["type"]
    return True


@pytest.mark.parametrize("name", GOLDEN["run_wave"])
def test_run_wave_matches_the_original(name: str) -> None:
    case = GOLDEN["run_wave"][name]
    graph = made(case)
    for cycle in case["cycles"]:
        wave = run_wave(graph)
        assert wave.strongest == cycle["strongest"]
        assert [each.name for each in wave.tensions] == [each[0] for each in cycle["tensions"]]
        assert close([each.tension for each in wave.tensions], [t[1] for t in cycle["tensions"]])
        assert [list(each.reasons) for each in wave.tensions] == [t[2] for t in cycle["tensions"]]
        assert wave.collapsed == cycle["collapsed"]
        assert list(wave.evolved) == cycle["evolved"]
        assert same(graph, cycle)


@pytest.mark.parametrize("name", GOLDEN["wave_cycle_runner"])
def test_the_cycle_runner_matches_the_original(name: str) -> None:
    case = GOLDEN["wave_cycle_runner"][name]
    runner = WaveCycleRunner(made(case))
    for cycle in case["cycles"]:
        did, expected = runner.run_single_cycle(), cycle["result"]
        assert (did.cycle, did.nodes) == (expected["cycle"], expected["nodes"])
        assert (did.pruned, did.emergent) == (expected["pruned"], expected["emergent"])
        assert close(did.tension, expected["tension"])
        assert close(runner.last_tension, cycle["last_tension"])
        assert same(runner.graph, cycle)


def test_a_runner_says_why_it_does_not_run() -> None:
    graph = LivingGraph()
    graph.add_node("a", 3.0, base=0.0)
    runner = WaveCycleRunner(graph, max_tension=0.8)
    graph.activation[:] = 1.0
    assert runner.run_single_cycle().tension == pytest.approx(0.85)
    paused = runner.run_single_cycle()
    assert (paused.skipped, paused.cycle) == ("the last tension was 0.850", 1)
    runner.resume()
    assert runner.run_single_cycle().skipped is None
    assert WaveCycleRunner(graph, max_nodes=1).run_single_cycle().skipped == "more than 1 nodes"


def test_alike_nodes_send_more() -> None:
    def gained(one: list[float], two: list[float]) -> float:
        graph = LivingGraph()
        graph.add_node("a", 0.5, attributes={"embedding": one})
        graph.add_node("b", 0.0, attributes={"embedding": two})
        graph.add_edge("a", "b")
        spread(graph, graph.edge_arrays, 0.1)
        return float(graph.activation[1])

    assert gained([1, 0], [0, 1]) == pytest.approx(0.5 * 0.095)
    assert gained([1, 0], [2, 0]) == pytest.approx(0.5 * 1.3 * 0.095)
    with pytest.raises(UserError, match="one length"):
        gained([1, 0], [1, 0, 0])


def test_collapsed_nodes_stay_out() -> None:
    graph = LivingGraph()
    graph.add_node("a", 1.0, attributes={"collapsed": True})
    graph.add_node("b", 0.2)
    graph.add_edge("a", "b")
    assert spread(graph, graph.edge_arrays, 0.2) == []
    assert np.allclose(graph.activation, [1.0, 0.2])
