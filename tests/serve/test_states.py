"""The state of a text as a value, and beginnings that are read once."""

from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from boggers.errors import UserError
from boggers.model.stream_state import StreamState
from boggers.serve.dials import dials_for
from boggers.serve.flock import driver_for
from boggers.serve.prefixes import PrefixCache
from boggers.serve.states import Saved, StateStore, saved_from_bytes

from .conftest import Ask, Live, Serve, stream_mind, window_mind

ASK = {"prompt": "", "max_tokens": 25, "seed": 6, "temperature": 0.7, "ignore_eos": True}


@pytest.fixture(scope="module", params=["stream", "window"])
def either(request: pytest.FixtureRequest, serve: Serve) -> Live:
    return serve(stream_mind() if request.param == "stream" else window_mind())


def text(live: Live, **options: Any) -> Any:
    response = live.http.post("/v1/completions", json={**ASK, **options})
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


def saved(live: Live, **body: Any) -> dict[str, Any]:
    response = live.http.post("/v1/states", json=body)
    assert response.status_code == 201, response.text
    card: dict[str, Any] = response.json()
    return card


def test_a_text_goes_on_from_a_saved_state(either: Live) -> None:
    card = saved(either, prompt="It was the best of times")
    assert card["tokens"] == 24
    assert (
        text(either, state=card["id"])["text"]
        == text(either, prompt="It was the best of times")["text"]
    )
    more = text(either, state=card["id"], prompt=", it was")
    assert more["text"] == text(either, prompt="It was the best of times, it was")["text"]


def test_the_end_of_an_answer_can_be_saved_and_gone_on_from(either: Live) -> None:
    greedy = {"temperature": 0, "prompt": "Call me"}
    whole = text(either, **greedy, max_tokens=30)["text"]
    half = text(either, **greedy, max_tokens=12, save_state=True)
    rest = text(either, state=half["state"], temperature=0, max_tokens=18)
    assert half["text"] + rest["text"] == whole or "\ufffd" in whole
    listed = either.http.get("/v1/states").json()["data"]
    assert half["state"] in [card["id"] for card in listed]


def test_states_are_forked_downloaded_uploaded_and_forgotten(either: Live) -> None:
    http = either.http
    card = saved(either, prompt="Whales")
    wanted = text(either, state=card["id"])["text"]
    fork = http.post(f"/v1/states/{card['id']}/fork").json()
    assert fork["id"] != card["id"]
    file = http.get(f"/v1/states/{card['id']}/content")
    assert file.headers["content-type"] == "application/octet-stream"
    assert http.delete(f"/v1/states/{card['id']}").json()["deleted"] is True
    assert http.get(f"/v1/states/{card['id']}").status_code == 404
    assert http.delete(f"/v1/states/{card['id']}").status_code == 404
    assert text(either, state=fork["id"])["text"] == wanted
    back = http.post("/v1/states/upload", content=file.content)
    assert back.status_code == 201
    assert back.json()["tokens"] == card["tokens"]
    assert text(either, state=back.json()["id"])["text"] == wanted


def test_states_of_other_steps_and_echo_are_refused(live: Live) -> None:
    card = saved(live, prompt="abc", relax_steps=4)
    assert card["relax_steps"] == 4
    assert text(live, state=card["id"]) == text(live, prompt="abc", relax_steps=4)
    other = live.http.post("/v1/completions", json={**ASK, "state": card["id"], "relax_steps": 2})
    assert other.status_code == 400
    assert "4 relaxation steps" in other.json()["error"]["message"]
    echoed = live.http.post("/v1/completions", json={**ASK, "state": card["id"], "echo": True})
    assert echoed.status_code == 400


def test_what_is_no_state_is_refused(live: Live) -> None:
    card = saved(live, prompt="abc")
    good = live.http.get(f"/v1/states/{card['id']}/content").content
    tensors = load(good)
    mind = live.house.mind
    about = {"format": "boggers-state-1", "tokens": "3", "steps": "2"}
    about["fingerprint"] = mind.fingerprint
    for bad in (
        b"",
        b"nonsense" * 30,
        good[:-5],
        save(tensors),
        save(tensors, {**about, "fingerprint": "other"}),
        save(tensors, {**about, "steps": "1"}),
        save(tensors, {**about, "steps": "-1"}),
        save(tensors, {**about, "tokens": "1"}),
        save({**tensors, "extra": tensors["tail"].clone()}, about),
        save({**tensors, "tail": tensors["tail"] + 300}, about),
        save({**tensors, "tail": tensors["tail"][:0]}, about),
        save({**tensors, "0.field": tensors["0.field"] * float("nan")}, about),
        save({k: v for k, v in tensors.items() if k != "1.recent"}, about),
    ):
        with pytest.raises(UserError):
            saved_from_bytes(bad, mind)
        refused = live.http.post("/v1/states/upload", content=bad)
        assert refused.status_code == 400
    saved_from_bytes(save(tensors, about), mind)


def test_the_least_recently_used_states_are_forgotten() -> None:
    def one() -> Saved:
        return Saved((1,) * 4, (1,) * 10, 10, 3, "f")

    first, second, third = one(), one(), one()
    store = StateStore(2 * first.nbytes)
    store.keep(first)
    store.keep(second)
    assert store.get(first.id) is first
    store.keep(third)
    assert store.get(second.id) is None
    assert [state.id for state in store.all()] == [third.id, first.id]
    with pytest.raises(UserError, match="--states-mb"):
        StateStore(3).keep(first)


def test_known_beginnings_are_not_read_again_and_change_nothing(serve: Serve) -> None:
    live = serve(stream_mind())
    cold = serve(stream_mind(), limits={"prefix_cache_mb": 0.0})

    def ask(at: Live, prompt: str) -> tuple[str, int]:
        done = at.http.post("/v1/completions", json={**ASK, "prompt": prompt}).json()
        usage = done["usage"]
        return done["choices"][0]["text"], usage["prompt_tokens_details"]["cached_tokens"]

    beginning = "All happy families are alike. " * 12  # 360 tokens
    first, known = ask(live, beginning)
    assert known == 0
    assert ask(live, beginning) == (first, 359)
    longer, known = ask(live, beginning + "And then?")
    assert known == 256
    assert ask(cold, beginning + "And then?") == (longer, 0)
    assert ask(live, beginning[:200])[1] == 128
    other = live.http.post(
        "/v1/completions", json={**ASK, "prompt": beginning, "relax_steps": 3}
    ).json()
    assert other["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_a_cached_prompt_gives_the_same_bits(ask: Ask) -> None:
    mind = stream_mind()
    prompt = "b" * 300
    cold = ask(mind, prompt, top_logprobs=2, measure=True)
    warm = ask(mind, prompt, top_logprobs=2, measure=True)
    assert warm.prompt is not None
    assert warm.prompt.cached == 299
    assert warm.tokens == cold.tokens


@pytest.mark.parametrize("length", [1, 7, 9, 128])
def test_a_place_takes_the_memory_that_is_counted(length: int) -> None:
    model = stream_mind().model
    driver = driver_for(model, dials_for(model))
    with torch.no_grad():
        place = driver.read(list(range(length)), driver.start(), every=False, measure=False).place
    assert isinstance(place, StreamState)
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in place.tensors().values()
        if tensor.numel()
    }
    assert sum(held.values()) == driver.bytes_of(place)


def test_the_prefix_cache_has_an_end() -> None:
    cache = PrefixCache(10_000)
    for number in range(100):
        cache.keep("key", bytes([number]), (), 500)
        assert cache.nbytes <= 10_000
    assert cache.nbytes == 10_000
    cache.clear()
    assert cache.nbytes == 0
