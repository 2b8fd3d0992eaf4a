"""What a server tells of itself: counters, tension, the graph, tokens, traces, its description."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from boggers.cli.main import main
from boggers.serve.schema import Message
from boggers.serve.template import render

from .conftest import Ask, Live, Serve, stream_mind, window_mind


@pytest.fixture(scope="module", params=["stream", "window"])
def either(request: pytest.FixtureRequest, serve: Serve) -> Live:
    return serve(stream_mind() if request.param == "stream" else window_mind())


def counted(live: Live) -> Callable[[str], float]:
    response = live.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    return lambda name: samples[f"boggers_{name}"]


def test_everything_is_counted(either: Live) -> None:
    before = counted(either)
    body = {"prompt": "abcdef", "max_tokens": 20, "ignore_eos": True, "attractor_meta": True}
    assert either.http.post("/v1/completions", json=body).status_code == 200
    after = counted(either)

    def grew(name: str) -> float:
        return after(name) - before(name)

    steps = 4 if either.house.mind.architecture == "stream" else 3
    assert grew("prompt_tokens_total") == 6
    assert grew("generation_tokens_total") == grew("tokens_predicted_total") == 20
    assert grew("n_decode_total") == 20
    assert grew("relax_steps_total") == 20 * steps
    assert grew("relax_steps_per_token_sum") == 20 * steps
    assert grew("time_to_first_token_seconds_count") == 1
    assert grew("inter_token_latency_seconds_count") == 19
    assert grew("e2e_request_latency_seconds_count") == 1
    for name in ("relax_residual", "energy_per_token", "tension_per_token"):
        assert grew(f"{name}_count") == 20
    assert after("num_requests_running") == after("num_requests_waiting") == 0
    tension = either.http.get("/metrics/tension").json()
    assert tension["steps"] == len(tension["tension_curve"]) == steps
    assert tension["final_tension"] == pytest.approx(after("last_tension"))
    assert either.http.get("/health").json()["last_tension"] == tension["final_tension"]


def test_generate_is_the_originals_answer(either: Live) -> None:
    said = either.http.post("/v1/generate", json={"prompt": "the", "max_tokens": 9}).json()
    assert said["text"].startswith("the")
    assert len(said["tension_curve"]) == (4 if either.house.mind.architecture == "stream" else 3)
    assert said["last_tension"] == said["tension_curve"][-1]
    assert said["ts_tension"] is None


def test_texts_become_tokens_and_back(live: Live) -> None:
    http = live.http
    tokens = http.post("/tokenize", json={"content": "né"}).json()["tokens"]
    assert tokens == list("né".encode())
    assert http.post("/tokenize", json={"prompt": "né"}).json()["count"] == 3
    special = {"prompt": "a", "add_special_tokens": True}
    assert http.post("/tokenize", json=special).json()["tokens"] == [256, 97]
    pieces = http.post("/tokenize", json={"content": "ab", "with_pieces": True}).json()["tokens"]
    assert pieces == [{"id": 97, "piece": "a"}, {"id": 98, "piece": "b"}]
    assert http.post("/detokenize", json={"tokens": tokens}).json()["content"] == "né"
    assert http.post("/detokenize", json={"tokens": []}).json()["content"] == ""
    assert http.post("/detokenize", json={"tokens": [999]}).status_code == 400
    assert http.get("/tokenizer_info").json()["separator_id"] == 256


def test_a_trace_agrees_with_what_is_written(either: Live, ask: Ask) -> None:
    mind = either.house.mind
    text = "whales"
    found = either.http.post("/v1/trace", json={"prompt": text, "top": 3}).json()
    echoed = ask(mind, text, echo=True, measure=True, top_logprobs=3, max_tokens=0).prompt
    assert echoed is not None
    steps = 4 if mind.architecture == "stream" else 3
    for place, token in enumerate(found["tokens"]):
        assert token["text"] == text[place]
        assert len(token["path"]) == len(token["tops"]) == steps + 1
        assert len(token["energies"]) == len(token["tensions"]) == steps == token["steps"]
        if place:
            told = echoed.tokens[place]
            assert told.physics is not None
            assert told.logprob is not None
            # What a token was read from is the settling of the one before it.
            source = found["tokens"][place - 1]
            assert token["surprise"] == pytest.approx(-told.logprob, abs=1e-5)
            assert source["energy"] == pytest.approx(told.physics.energy, rel=1e-4, abs=1e-5)
            assert [name for name, _ in source["tops"][-1]] == [name for name, _ in told.top]
    assert 0 < sum(found["explained"]) <= 1.0001
    long = either.http.post("/v1/trace", json={"prompt": "x" * 513})
    assert long.status_code == 400


class Graph:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.ts_tension, self.tick, self.evolve_count = 0.5, 0, 2
        self.felt: list[float] = []

    @property
    def icarus_line(self) -> str:
        return f"tick {self.tick}"

    def tension(self) -> "Graph":
        return self

    def propagate(self, steps: int = 1) -> "Graph":
        self.tick += steps
        return self

    def feel(self, tension: float) -> "Graph":
        self.felt.append(tension)
        return self

    def snapshot(self, limit: int = 200) -> list[dict[str, float | str]]:
        return [{"name": "a", "activation": 1.0, "stability": 0.5, "tension": 0.1}]


def test_a_living_graph_is_asked_and_feels(serve: Serve) -> None:
    graph = Graph()
    http = serve(stream_mind(), graph).http
    assert http.get("/ts/tension").json() == {"ts_tension": 0.5, "tick": 0, "evolve_count": 2}
    assert http.post("/ts/propagate").json()["tick"] == 1
    assert http.post("/ts/propagate", json={"steps": 4}).json()["icarus_line"] == "tick 5"
    assert http.get("/ts/nodes").json()["nodes"][0]["name"] == "a"
    body: dict[str, Any] = {"prompt": "a", "max_tokens": 4, "attractor_meta": True}
    meta = http.post("/v1/completions", json=body).json()["choices"][0]["attractor_meta"]
    assert (meta["ts_tension"], meta["evolve_count"]) == (0.5, 2)
    assert graph.felt == [pytest.approx(sum(meta["tension"]) / len(meta["tension"]))]
    assert http.post("/v1/generate", json={"prompt": "a"}).json()["ts_tension"] == 0.5
    assert http.get("/health").json()["ts_tension"] == 0.5


def test_no_graph_is_an_error_object(live: Live) -> None:
    for response in (
        live.http.get("/ts/tension"),
        live.http.post("/ts/propagate"),
        live.http.get("/ts/nodes"),
    ):
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "no_graph"


def test_a_request_keeps_its_name(live: Live) -> None:
    given = live.http.get("/health", headers={"X-Request-Id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    made = live.http.get("/health", headers={"X-Request-Id": "no good\tname"})
    assert len(made.headers["x-request-id"]) == 16


def test_pages_of_other_origins_need_leave(serve: Serve) -> None:
    live = serve(stream_mind(), cors_origins=("https://example.org",))
    for origin, allowed in (
        ("https://example.org", "https://example.org"),
        ("https://x.org", None),
    ):
        told = live.http.get("/health", headers={"Origin": origin}).headers
        assert told.get("access-control-allow-origin") == allowed
    page = live.http.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_the_template_is_the_documented_one() -> None:
    turns = [("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C")]
    assert render(turns) == "S\n\nUser: A\nAssistant: B\nUser: C\nAssistant:"
    assert Message(role="user", content="x").content == "x"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "absent"], "no run"),
        (["serve", "absent", "--port", "70000"], "--port"),
        (["serve", "absent", "--max-queue", "0"], "--max-queue"),
        (["serve", "absent", "--max-batch", "4"], "--max-choices"),
        (["serve", "absent", "--prefix-cache-mb", "-1"], "--prefix-cache-mb"),
        (["serve", "absent", "--log-level", "loud"], "--log-level"),
        (["serve", "absent", "--reload-seconds", "0"], "--reload-seconds"),
        (["chat", "absent"], "no run"),
        (["chat", "absent", "--max-tokens", "0"], "--max-tokens"),
    ],
)
def test_the_commands_refuse_in_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert said in line
