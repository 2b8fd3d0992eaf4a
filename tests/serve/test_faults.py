"""What goes wrong gets the right answer, and the others lose nothing."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from boggers.errors import UserError
from boggers.files import write_folder, write_json
from boggers.model.weights import save_model
from boggers.serve.mind import Mind, load_mind

from .conftest import Live, Serve, stream_mind, window_mind

ASK = {"prompt": "abc", "max_tokens": 30, "seed": 1, "ignore_eos": True}


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    return error


def test_a_client_that_leaves_mid_stream_is_forgotten(live: Live) -> None:
    endless = {**ASK, "max_tokens": 4096, "stream": True}
    with live.http.stream("POST", "/v1/completions", json=endless) as response:
        lines = response.iter_lines()  # httpx closes the connection of one that is thrown away
        next(lines)
        text = live.http.post("/v1/completions", json=ASK).json()["choices"][0]["text"]
    end = time.monotonic() + 10
    while running(live):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert live.http.post("/v1/completions", json=ASK).json()["choices"][0]["text"] == text


def test_a_client_that_leaves_before_a_whole_answer_is_forgotten(live: Live) -> None:
    with pytest.raises(httpx.ReadTimeout):
        live.http.post("/v1/completions", json={**ASK, "max_tokens": 4096}, timeout=0.5)
    end = time.monotonic() + 10
    while running(live):
        assert time.monotonic() < end
        time.sleep(0.02)


def running(live: Live) -> float:
    return float(live.house.metrics.registry.get_sample_value("boggers_num_requests_running"))


def test_ten_megabytes_are_too_many(live: Live) -> None:
    huge = json.dumps({**ASK, "prompt": "x" * 10_000_000})
    assert error_of(live.http.post("/v1/completions", content=huge), 413)["code"]

    def pieces() -> Any:
        for start in range(0, len(huge), 100_000):
            yield huge[start : start + 100_000].encode()

    json_head = {"Content-Type": "application/json"}
    error_of(live.http.post("/v1/completions", content=pieces(), headers=json_head), 413)
    assert live.http.post("/v1/completions", json=ASK).status_code == 200


def test_a_prompt_that_is_too_long_is_told_so(live: Live) -> None:
    error = error_of(live.http.post("/v1/completions", json={**ASK, "prompt": "x" * 40_000}), 400)
    assert error["code"] == "context_length_exceeded"
    assert "32,768" in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b'{"prompt": "a", "temperature": NaN}',
        b'{"prompt": "a", "temperature": Infinity}',
        b'{"prompt": "a", "top_p": -NaN}',
        b'{"prompt": "a", "max_tokens": 1000000000}',
        b'{"prompt": "a", "max_tokens": 1e400}',
        b'{"prompt": "a", "max_tokens": "many"}',
        b'{"prompt": "a", "seed": 99999999999999999999999999}',
        b'{"prompt": "a", "relax_steps": -1}',
        b'{"prompt": "a", "relax_tolerance": NaN}',
        b'{"prompt": "a", "logit_bias": {"1": NaN}}',
        b'{"prompt": "a", "energy_bias": {"towards": [" "], "strength": NaN}}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": {"a": 1}}',
        b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"prompt": "a", "stop": [' + b'"x", ' * 16 + b'"x"]}',
        b'{"prompt": "a", "stop": ""}',
    ],
    ids=lambda body: body[:40].decode(errors="replace"),
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_sentence(live: Live, body: bytes) -> None:
    head = {"Content-Type": "application/json"}
    error_of(live.http.post("/v1/completions", content=body, headers=head), 400)


def test_unknown_places_and_methods(live: Live) -> None:
    error_of(live.http.get("/v1/nothing"), 404)
    error_of(live.http.get("/v1/completions"), 405)
    error_of(live.http.get("/v1/models/other"), 404)
    error_of(live.http.get("/ts/tension"), 404)
    error_of(live.http.post("/ts/propagate"), 404)


def test_the_queue_overflows_at_once(serve: Serve) -> None:
    limits = {"max_batch": 1, "max_choices": 1, "max_queue": 2}
    live = serve(stream_mind(), limits=limits)
    endless = {**ASK, "max_tokens": 4096, "stream": True}
    with (
        live.http.stream("POST", "/v1/completions", json=endless) as response,
        ThreadPoolExecutor(2) as pool,
    ):
        lines = response.iter_lines()
        next(lines)
        waiting = [pool.submit(live.http.post, "/v1/completions", json=ASK) for _ in range(2)]
        end = time.monotonic() + 10
        while live.house.engine.waiting < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        began = time.monotonic()
        refused = live.http.post("/v1/completions", json=ASK)
        took = time.monotonic() - began
        assert error_of(refused, 429)["code"] == "queue_full"
        assert refused.headers["retry-after"] == "1"
        assert took < 1
        response.close()
    assert [done.result().status_code for done in waiting] == [200, 200]


def test_while_loading_the_server_says_so(serve: Serve) -> None:
    ready = threading.Event()

    def slow() -> Mind:
        ready.wait(60)
        return stream_mind()

    live = serve(slow, wait=False)
    health = live.http.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "loading"
    assert live.http.get("/health/live").status_code == 200
    assert error_of(live.http.post("/v1/completions", json=ASK), 503)["code"] == "loading"
    assert error_of(live.http.get("/v1/models"), 503)["code"] == "loading"
    ready.set()
    end = time.monotonic() + 30
    while live.http.get("/health").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert live.http.get("/health").json()["ready"] is True


def test_a_newer_checkpoint_is_served_while_texts_go_on(serve: Serve) -> None:
    minds = [stream_mind(name="first"), window_mind(name="second")]
    live = serve(lambda: minds[0])
    before = live.http.post("/v1/completions", json=ASK).json()
    state = live.http.post("/v1/states", json={"prompt": "abc"}).json()["id"]
    long = {**ASK, "max_tokens": 80}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(live.http.post, "/v1/completions", json=long)
        time.sleep(0.1)
        minds.pop(0)
        card = live.http.post("/v1/models/reload").json()
        assert card["id"] == "second"
        after = live.http.post("/v1/completions", json=ASK).json()
        old = running.result().json()
    assert before["model"] == old["model"] == "first"
    assert after["model"] == "second"
    assert old["choices"][0]["text"].startswith(before["choices"][0]["text"])
    assert old["usage"]["completion_tokens"] == 80
    error = error_of(live.http.post("/v1/completions", json={**ASK, "state": state}), 400)
    assert error["code"] == "state_of_another_model"


def test_a_run_that_cannot_be_opened_again_leaves_the_old_one(serve: Serve) -> None:
    opened = [stream_mind()]

    def opens() -> Mind:
        if not opened:
            raise UserError("The run is damaged.")
        return opened.pop()

    live = serve(opens)
    assert "damaged" in error_of(live.http.post("/v1/models/reload"), 400)["message"]
    assert live.http.post("/v1/completions", json=ASK).status_code == 200
    assert live.http.get("/health").status_code == 200


def write_run(folder: Path, mind: Mind, step: int = 7) -> Path:
    """A run with one checkpoint, as training leaves it."""
    mind.tokenizer.save(folder / "tokenizer")

    def fill(inside: Path) -> None:
        save_model(mind.model, inside)
        origin = {"tokenizer": mind.tokenizer.fingerprint}
        write_json(
            inside / "state.json", {"origin": origin, "progress": {"step": step, "tokens": 9}}
        )

    write_folder(folder / "checkpoints" / f"step-{step:07d}", fill)
    return folder


def test_an_untrained_model_is_not_served(tmp_path: Path) -> None:
    write_run(tmp_path / "fresh", stream_mind(), step=0)
    with pytest.raises(UserError, match="not been trained"):
        load_mind(tmp_path / "fresh")
    mind = load_mind(write_run(tmp_path / "run", stream_mind()))
    assert (mind.name, mind.step, mind.tokens) == ("run", 7, 9)


def started(run: Path, *options: str) -> "tuple[subprocess.Popen[str], str]":
    """A server in a process of its own, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "boggers", "serve", str(run), "--port", "0", "--threads", "1",
         "--device", "cpu", "--log-level", "warning", *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " at http://127.0.0.1:" in line, line + process.stdout.read()
    return process, line.partition(" at ")[2].split()[0]


def ended(process: "subprocess.Popen[str]") -> None:
    """Nothing of the server is left."""
    process.kill()
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


def test_sigterm_under_load_finishes_what_has_begun(tmp_path: Path) -> None:
    process, url = started(write_run(tmp_path / "run", stream_mind()))
    begun = asyncio.Event()

    async def one(client: httpx.AsyncClient, number: int) -> tuple[str, bool]:
        body = {**ASK, "max_tokens": 60, "seed": number, "stream": True}
        text, done = "", False
        async with client.stream("POST", "/v1/completions", json=body) as response:
            assert response.status_code == 200
            async for line in response.aiter_lines():
                begun.set()
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    (choice,) = json.loads(line[6:])["choices"]
                    text += choice["text"]
        return text, done

    async def all_of_them() -> list[tuple[str, bool]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
            tasks = [asyncio.create_task(one(client, number)) for number in range(16)]
            await begun.wait()
            process.send_signal(signal.SIGTERM)
            assert not any(task.done() for task in tasks)
            return list(await asyncio.gather(*tasks))

    try:
        answers = asyncio.run(all_of_them())
        assert process.wait(60) == 0
        assert process.stdout is not None
        assert "nothing was cut off" in process.stdout.read()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
    finally:
        ended(process)
    assert all(done for _, done in answers)
    mind = stream_mind()
    for number in (0, 9):
        wanted = mind.engine.generate("abc", max_tokens=60, seed=number)
        assert "abc" + answers[number][0] == wanted


def test_sighup_opens_the_newest_checkpoint(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", stream_mind())
    process, url = started(run)
    try:
        first = httpx.get(f"{url}/v1/models").json()["data"][0]["meta"]["checkpoint"]
        write_run(run, stream_mind(name="later"), step=8)
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while httpx.get(f"{url}/v1/models").json()["data"][0]["meta"]["checkpoint"] == first:
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        ended(process)
    assert first == "step-0000007"
