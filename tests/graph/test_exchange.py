"""Graphs leave and come back in three formats, and bad files are refused in a sentence."""

import json
from pathlib import Path

import numpy as np
import pytest

from boggers.errors import UserError
from boggers.graph.exchange import read_graph, write_graph
from boggers.graph.living import LivingGraph
from boggers.graph.tscore import bootstrap, factory_evolve
from tests.graph.golden import close, golden


def grown() -> LivingGraph:
    graph = bootstrap(0.3)
    factory_evolve(graph, 5)
    graph.add_node("ü & <b>", 0.2, base=0.9, attributes={"topics": ["m"], "sure": True})
    graph.add_edge("ü & <b>", "ts_native", 0.123456789012345)
    graph.add_edge("ü & <b>", "ts_native", 2.0)
    for _ in range(3):
        graph.propagate()
    return graph


@pytest.mark.parametrize("name", ["g.json", "g.graphml"])
def test_everything_survives_a_journey(tmp_path: Path, name: str) -> None:
    graph = grown()
    write_graph(graph, tmp_path / name)
    back = read_graph(tmp_path / name)
    assert back.names == graph.names
    assert (back.tick, back.damping) == (3, 0.3)
    assert sorted(back.edges()) == sorted(graph.edges())
    for column in ("activation", "stability", "base"):
        assert np.array_equal(getattr(back, column), getattr(graph, column))
    assert back.node("ü & <b>").attributes["sure"] is True
    graph.propagate()
    back.propagate()
    assert close(back.activation, graph.activation)


def test_the_originals_factory_file_is_read_and_written(tmp_path: Path) -> None:
    expected = golden("tscore_evolve")
    path = tmp_path / "self_improving_factory.json"
    graph = bootstrap()
    factory_evolve(graph, 1, overwrite=True)
    factory_evolve(graph, 1, overwrite=True)
    graph.attributes[0] = {"language_as_tool": True}
    write_graph(graph, path, "tscore")
    value = json.loads(path.read_text())
    assert set(value) == {"nodes", "edges"}
    assert set(value["edges"][0]) == {"from", "to", "weight"}
    back = read_graph(path)
    reload = expected["reload"]
    assert (back.tick, len(back), back.num_edges) == (
        reload["tick"],
        reload["nodes"],
        reload["edges"],
    )
    assert np.array_equal(back.activation, graph.activation)
    assert back.node("ts_native").attributes == {"language_as_tool": True}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "[1]", "must hold objects"),
        ("a.json", '{"edges": []}', "no list 'nodes'"),
        ("a.json", '{"nodes": [{"activation": 1}]}', "needs an id"),
        ("a.json", '{"nodes": [{"id": "x", "activation": "hot"}]}', "activation of x must be"),
        ("a.json", '{"nodes": [], "edges": [{"from": "a"}]}', "two ends"),
        ("a.json", '{"nodes": [], "links": [{"source": "a"}]}', "two ends"),
        ("a.json", "{", "must hold JSON"),
        ("a.graphml", "<graphml", "must hold GraphML"),
        ("a.graphml", "<!DOCTYPE x [<!ENTITY y 'z'>]><graphml/>", "entities"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        read_graph(tmp_path / name)


def test_unknown_formats_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one of tscore"):
        write_graph(bootstrap(), tmp_path / "g", "dot")
    for name in ("none.json", "none.graphml"):
        with pytest.raises(UserError, match="cannot be read"):
            read_graph(tmp_path / name)
