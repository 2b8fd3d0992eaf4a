"""The graph that many threads may ask."""

import threading
from pathlib import Path

import pytest

from boggers.errors import UserError
from boggers.graph.service import GraphService
from boggers.graph.store import GraphStore
from tests.graph.golden import close


def test_the_service_answers_as_the_original_did() -> None:
    service = GraphService()
    assert close(service.tension().ts_tension, 0.22124646889837588)
    said = service.propagate()
    assert close(said.ts_tension, 0.13030427545211987)
    assert (said.tick, service.tension().tick) == (1, 1)
    assert "0.221246 to 0.130304" in said.icarus_line
    assert service.propagate(steps=3).tick == 4
    with pytest.raises(UserError, match="1 to 1000"):
        service.propagate(steps=0)
    assert {node["name"] for node in service.snapshot(2)} <= set(service.graph.names)


def test_many_threads_get_whole_answers(tmp_path: Path) -> None:
    service = GraphService.open(tmp_path / "graph.sqlite")
    ticks: list[int] = []
    failures: list[UserError | AssertionError] = []

    def ask(number: int) -> None:
        try:
            for turn in range(20):
                ticks.append(service.propagate().tick)
                service.feel(0.2 + 0.05 * number + 0.01 * turn)
                assert service.tension().ts_tension >= 0
                assert len(service.snapshot()) >= 5
        except (UserError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(set(ticks)) == 8 * 20
    last = service.tension()
    service.close()
    with GraphStore(tmp_path / "graph.sqlite") as store:
        store.check()
        assert store.load().tick == last.tick
    again = GraphService.open(tmp_path / "graph.sqlite")
    assert close(again.tension().ts_tension, last.ts_tension)
    again.close()
