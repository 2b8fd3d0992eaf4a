"""The database: what is saved comes back, and a killed process loses nothing that it committed."""

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from boggers.errors import UserError
from boggers.graph.language import LanguageNode
from boggers.graph.living import LivingGraph
from boggers.graph.store import GraphStore
from boggers.graph.tscore import bootstrap, factory_evolve
from tests.graph.ticking import tension_of


def same(one: LivingGraph, two: LivingGraph) -> bool:
    return (
        one.names == two.names
        and one.tick == two.tick
        and one.damping == two.damping
        and one.attributes == two.attributes
        and list(one.edges()) == list(two.edges())
        and all(
            np.array_equal(getattr(one, column), getattr(two, column))
            for column in ("activation", "stability", "base")
        )
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    graph = bootstrap(0.4)
    graph.add_node("odd ☂", 0.25, attributes={"topics": ["a", "b"], "collapsed": True})
    graph.add_edge("odd ☂", "nobody", 0.5, dangling=True)
    path = tmp_path / "new" / "graph.sqlite"
    with GraphStore(path) as store:
        assert store.empty
        for _ in range(3):
            graph.propagate()
            store.save(graph, language=0.3)
        factory_evolve(graph, 9)
        graph.propagate()
        store.save(graph, evolved=1)
        store.check()
    with GraphStore(path) as store:
        assert same(store.load(), graph)
        rows = store.history()
        assert [row.tick for row in rows] == [1, 2, 3, 4]
        assert rows[-1].tension == graph.tension()
        assert (rows[-1].evolved, rows[-1].language, rows[0].language) == (1, None, 0.3)
        assert [row.tick for row in store.history(2)] == [3, 4]


def test_shrinking_and_forgetting_are_saved(tmp_path: Path) -> None:
    random_numbers = np.random.default_rng(0)
    count = 6000  # more than a block
    ends = random_numbers.integers(0, count, (2, 9000), dtype=np.int32)
    graph = LivingGraph.from_arrays(
        map(str, range(count)), random_numbers.random(count), *ends, random_numbers.random(9000)
    )
    graph.attributes[3] = {"kind": "x"}
    with GraphStore(tmp_path / "g.sqlite", durable=False) as store:
        store.save(graph)
        graph.remove_edges(graph.edge_arrays[2] < 0.7)
        graph.add_node("3", 0.1)
        graph.propagate()
        store.save(graph)
        assert same(store.load(), graph)
        assert store.load().attributes == {}


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    count = 50_000
    path = tmp_path / "g.sqlite"
    graph = LivingGraph.from_arrays(
        map(str, range(count)),
        np.random.default_rng(0).random(count),
        np.arange(count - 1, dtype=np.int32),
        np.arange(1, count, dtype=np.int32),
        np.ones(count - 1),
    )
    with GraphStore(path) as store:
        store.save(graph)
    with GraphStore(path) as store:
        graph = store.load()
        store.adopt(graph)
        before = store._database.total_changes
        graph.activation[7] += 0.5
        graph.tick += 1
        store.save(graph)
        assert store._database.total_changes - before < 8
        assert same(store.load(), graph)


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    one, two = bootstrap(), bootstrap()
    two.activation[:] = 0.1
    with GraphStore(path) as first, GraphStore(path) as second:
        first.save(one)
        second.save(two)
        one.tick += 1
        first.save(one)
        assert same(second.load(), one)


def test_another_damping_is_saved(tmp_path: Path) -> None:
    graph = bootstrap()
    with GraphStore(tmp_path / "g.sqlite", durable=False) as store:
        for damping in (0.35, 0.6, 0.2):
            graph.damping = damping
            graph.propagate()
            store.save(graph)
            assert same(store.load(), graph)


def test_history_has_an_end(tmp_path: Path) -> None:
    graph = bootstrap()
    with GraphStore(tmp_path / "g.sqlite", history=5, durable=False) as store:
        for _ in range(12):
            graph.propagate()
            store.save(graph)
        assert [row.tick for row in store.history()] == [8, 9, 10, 11, 12]
    with pytest.raises(UserError, match="at least 1 tick"):
        GraphStore(tmp_path / "g.sqlite", history=0)


def test_a_failed_save_changes_nothing(tmp_path: Path) -> None:
    graph = bootstrap()
    with GraphStore(tmp_path / "g.sqlite") as store:
        store.save(graph)
        graph.propagate()
        graph.attributes[0] = {"thing": object()}
        graph.structure += 1
        with pytest.raises(TypeError):
            store.save(graph)
        assert store.load().tick == 0
        graph.attributes.clear()
        store.save(graph)
        assert same(store.load(), graph)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_text("not a database, but long enough to be looked at " * 40)
    with pytest.raises(UserError, match="cannot be used as a graph"):
        GraphStore(path)
    other = tmp_path / "other.sqlite"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE thing (x)")
    database.commit()
    database.close()
    with pytest.raises(UserError, match="something else"):
        GraphStore(other)
    newer = tmp_path / "newer.sqlite"
    GraphStore(newer).close()
    database = sqlite3.connect(newer)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(UserError, match="newer version"):
        GraphStore(newer)
    with pytest.raises(UserError, match="no graph yet"), GraphStore(tmp_path / "e.sqlite") as store:
        store.load()


def kill_and_look(path: Path, kills: int, choose: random.Random) -> None:
    """Kill a ticking process at random moments; every committed tick must be there, exact."""
    seen = 0
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.graph.ticking", str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdout is not None
        try:
            told = [child.stdout.readline()]
            time.sleep(choose.uniform(0.0, 0.25))
        finally:
            child.kill()
        told += child.stdout.readlines()
        child.stdout.close()
        child.wait()
        committed = max((int(line) for line in told if line.endswith("\n")), default=seen)
        assert committed > seen
        with GraphStore(path) as store:
            store.check()
            rows = store.history()
            seen = len(rows)
            # The child may have died between a commit and telling of it.
            assert committed <= seen <= committed + 1
            found = store.load()
    node = LanguageNode(bootstrap())
    for batch in range(seen):
        assert (felt := node.feel(tension_of(batch))).graph_tension >= 0
        row = rows[batch]
        assert (row.tick, row.nodes, row.evolved) == (
            node.graph.tick,
            len(node.graph),
            felt.evolved,
        )
        assert row.tension == pytest.approx(node.graph.tension(), abs=1e-12)
    assert found.names == node.graph.names
    assert np.allclose(found.activation, node.graph.activation, rtol=0, atol=1e-12)


def test_a_killed_process_loses_no_committed_tick(tmp_path: Path) -> None:
    kill_and_look(tmp_path / "graph.sqlite", 3, random.Random(5))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # fifty processes start one after another
def test_fifty_killed_processes_lose_no_committed_tick(tmp_path: Path) -> None:
    kill_and_look(tmp_path / "graph.sqlite", 50, random.Random(7))
