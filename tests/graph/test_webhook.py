"""The webhook against a real server on this machine: it tells, retries, drops, and never waits."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from boggers.errors import UserError
from boggers.graph.language import LanguageNode
from boggers.graph.tscore import bootstrap
from boggers.graph.webhook import VARIABLE, Webhook, webhook_from_environment


@dataclass
class Listener:
    """A server that remembers what it was sent and answers as it is told to."""

    url: str = ""
    codes: list[int] = field(default_factory=list)
    delay: float = 0.0
    bodies: list[Any] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    told = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(told.delay)
            told.bodies.append(json.loads(body))
            code = told.codes.pop(0) if told.codes else 204
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def test_exactly_one_event_for_each_batch_that_evolves(listener: Listener) -> None:
    with Webhook(listener.url) as hook:
        node = LanguageNode(bootstrap(), original=True, webhook=hook)
        for _ in range(12):
            node.feel(0.3)
        delivery = hook.close()
    assert node.evolve_count == 1
    assert delivery.sent == 1
    (body,) = listener.bodies
    assert body == {
        "lang_tension": 0.3,
        "ts_tension": pytest.approx(0.15047563684869034),
        "evolve": True,
    }


def test_failures_are_tried_again_and_refusals_are_not(listener: Listener) -> None:
    listener.codes = [503, 429, 204, 400]
    with Webhook(listener.url, backoff=0.01) as hook:
        hook.tell({"n": 1.0})
        hook.tell({"n": 2.0})
        delivery = hook.close()
    assert (delivery.sent, delivery.retried, delivery.failed) == (1, 2, 1)
    assert [body["n"] for body in listener.bodies] == [1.0, 1.0, 1.0, 2.0]


def test_a_slow_listener_costs_nothing_and_a_full_queue_drops(listener: Listener) -> None:
    listener.delay = 0.3
    hook = Webhook(listener.url, capacity=2, timeout=5.0)
    begun = time.perf_counter()
    told = [hook.tell({"n": float(number)}) for number in range(50)]
    assert time.perf_counter() - begun < 0.2
    delivery = hook.close(patience=3.0)
    assert told.count(False) == delivery.dropped
    assert delivery.sent + delivery.dropped == 50
    assert delivery.dropped >= 46


def test_nobody_listening_is_counted_and_nothing_is_raised() -> None:
    with Webhook("http://127.0.0.1:9/", attempts=2, backoff=0.01, timeout=0.5) as hook:
        assert hook.tell({"n": 1.0})
        delivery = hook.close()
    assert (delivery.failed, delivery.retried, delivery.sent) == (1, 1, 0)


def test_the_environment_names_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " ")
    assert webhook_from_environment() is None
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:9/x")
    hook = webhook_from_environment()
    assert hook is not None
    assert hook.url == "http://127.0.0.1:9/x"
    hook.close()
    monkeypatch.setenv(VARIABLE, "ftp://x")
    with pytest.raises(UserError, match="http or https"):
        webhook_from_environment()
