"""`boggers graph`: every action on a real database, and what it refuses."""

from pathlib import Path

import pytest

from boggers.cli.main import main
from boggers.graph.exchange import read_graph
from boggers.graph.store import GraphStore
from tests.cli.conftest import Refused

Said = pytest.CaptureFixture[str]


@pytest.fixture
def graph(tmp_path: Path, capsys: Said) -> str:
    path = tmp_path / "graph.sqlite"
    assert main(["graph", "import", "bootstrap", str(path)]) == 0
    assert "4 nodes, 3 edges" in capsys.readouterr().out
    return str(path)


def test_a_graph_ticks_and_shows_it(graph: str, capsys: Said) -> None:
    assert main(["graph", "tick", graph, "--steps", "2"]) == 0
    assert "tick 2: tension 0.0828728" in capsys.readouterr().out
    assert main(["graph", "show", graph, "--nodes", "2"]) == 0
    said = capsys.readouterr().out
    assert "4 nodes, 3 edges, tick 2" in said
    assert [line.split()[0] for line in said.splitlines()[3:5]] == [
        "language_ritual",
        "persistent_wave",
    ]
    with GraphStore(Path(graph)) as store:
        assert [row.tick for row in store.history()] == [0, 1, 2]


def test_a_graph_runs_to_rest(graph: str, capsys: Said) -> None:
    command = ["graph", "run", graph, "--stages", "propagate", "--criterion", "tension"]
    assert main(command) == 0
    assert "tension unchanged after 22 ticks" in capsys.readouterr().out
    assert main(["graph", "run", graph, "--break-gap", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "stable after" in said
    with GraphStore(Path(graph)) as store:
        assert len(store.load()) > 4


def test_a_graph_grows_and_is_strengthened(graph: str, capsys: Said, refused: Refused) -> None:
    assert main(["graph", "evolve", graph]) == 0
    assert "5 nodes, tension 0.209246" in capsys.readouterr().out
    assert main(["graph", "evolve", graph, "--node", "kernel_wave_12"]) == 0
    assert "activation 0.9, stability 0.96" in capsys.readouterr().out
    assert "cannot be strengthened" in refused("graph", "evolve", graph, "--node", "ts_native")
    assert "no node 'x'" in refused("graph", "evolve", graph, "--node", "x")


def test_a_graph_travels(graph: str, tmp_path: Path, capsys: Said) -> None:
    for name in ("a.graphml", "a.json"):
        assert main(["graph", "export", graph, str(tmp_path / name)]) == 0
        other = tmp_path / f"{name}.sqlite"
        assert main(["graph", "import", str(tmp_path / name), str(other)]) == 0
        assert read_graph(tmp_path / name).names[0] == "ts_native"
    capsys.readouterr()


def test_mistakes_are_told_in_one_line(graph: str, tmp_path: Path, refused: Refused) -> None:
    assert "Make one with" in refused("graph", "tick", str(tmp_path / "none.sqlite"))
    assert "holds a graph already" in refused("graph", "import", "bootstrap", graph)
    assert "--steps must be at least 1" in refused("graph", "tick", graph, "--steps", "0")
    assert "--break-gap must be above 0" in refused("graph", "run", graph, "--break-gap", "0")
    assert "cannot be read" in refused("graph", "import", "none.json", str(tmp_path / "n.sqlite"))
    (tmp_path / "text").write_text("x" * 5000)
    assert "cannot be used as a graph" in refused("graph", "show", str(tmp_path / "text"))
