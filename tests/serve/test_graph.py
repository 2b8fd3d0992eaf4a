"""A real living graph behind a server: its endpoints, what it feels, and what is left on disk."""

import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from boggers.errors import UserError
from boggers.graph.language import NAME, LanguageNode
from boggers.graph.service import GraphService
from boggers.graph.store import GraphStore
from boggers.graph.tscore import bootstrap
from tests.serve.conftest import Serve, stream_mind
from tests.serve.test_faults import ended, started, write_run

ASK: dict[str, Any] = {"prompt": "abc", "max_tokens": 8, "seed": 1, "attractor_meta": True}


def test_a_real_graph_ticks_and_feels_what_is_written(serve: Serve) -> None:
    graph = bootstrap()
    service = GraphService(graph, LanguageNode(graph))
    http = serve(stream_mind(), service).http
    begun = http.get("/ts/tension").json()
    assert begun["tick"] == 0
    assert begun["ts_tension"] == service.graph.tension() > 0
    ticked = http.post("/ts/propagate", json={"steps": 3}).json()
    assert ticked["tick"] == 3
    assert ticked["ts_tension"] < begun["ts_tension"]
    assert "tension falls from" in ticked["icarus_line"]
    for steps in (0, 1001, "many"):
        assert http.post("/ts/propagate", json={"steps": steps}).status_code == 400
    meta = http.post("/v1/completions", json=ASK).json()["choices"][0]["attractor_meta"]
    felt = min(1.0, sum(meta["tension"]) / len(meta["tension"]))
    # A graph that felt something took a whole cycle of ticks.
    after = http.get("/ts/tension").json()
    assert after["tick"] > 4
    assert service.graph.node(NAME).base == pytest.approx(felt, abs=1e-5)
    shown = {node["name"]: node for node in http.get("/ts/nodes").json()["nodes"]}
    assert shown[NAME]["stability"] == 1.0
    streamed = http.post("/v1/completions", json={**ASK, "stream": True})
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert http.get("/ts/tension").json()["tick"] > after["tick"]


def test_a_graph_that_is_busy_keeps_nobody_waiting(serve: Serve) -> None:
    service = GraphService()
    http = serve(stream_mind(), service).http
    before = service.tension()
    with service._lock:  # as long as somebody lets it tick
        assert http.get("/ts/tension").json()["tick"] == before.tick
        assert http.get("/health").json()["ts_tension"] == before.ts_tension
        waiting = threading.Thread(target=http.post, args=("/ts/propagate",))
        waiting.start()
        with httpx.Client(base_url=http.base_url, timeout=60) as other:
            assert other.post("/v1/completions", json={"prompt": "a"}).status_code == 200
    waiting.join(30)
    assert service.tension().tick == before.tick + 1


def test_what_a_served_graph_felt_is_on_disk(tmp_path: Path) -> None:
    run, path = write_run(tmp_path / "run", stream_mind()), tmp_path / "graph.sqlite"
    process, url = started(run, "--graph", str(path))
    try:
        assert httpx.post(f"{url}/ts/propagate", json={"steps": 2}).json()["tick"] == 2
        assert httpx.post(f"{url}/v1/completions", json=ASK, timeout=60).status_code == 200
        last = httpx.get(f"{url}/ts/tension").json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        ended(process)
    with GraphStore(path) as store:
        store.check()
        graph = store.load()
    assert (graph.tick, graph.tension()) == (last["tick"], pytest.approx(last["ts_tension"]))
    assert last["tick"] > 2
    process, url = started(run, "--graph", str(path))
    try:
        assert httpx.get(f"{url}/ts/tension").json()["tick"] == last["tick"]
    finally:
        ended(process)


def test_a_place_without_a_folder_is_refused(tmp_path: Path) -> None:
    from boggers.cli.serve import _attached

    with pytest.raises(UserError, match="there is no folder"):
        _attached(tmp_path / "nowhere" / "graph.sqlite")
