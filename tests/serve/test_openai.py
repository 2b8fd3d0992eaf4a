"""OpenAI's own client against a live server."""

from typing import Any

import numpy as np
import openai
import pytest

from boggers.serve.mind import Mind

from .conftest import Live, Serve, stream_mind, window_mind


@pytest.fixture(scope="module", params=["stream", "window"])
def either(request: pytest.FixtureRequest, serve: Serve) -> Live:
    return serve(stream_mind() if request.param == "stream" else window_mind())


def mind_of(live: Live) -> Mind:
    mind: Mind = live.house.mind
    return mind


def test_a_completion_is_what_the_command_line_writes(either: Live) -> None:
    done = either.client.completions.create(
        model="small", prompt="Once upon", max_tokens=20, seed=3, temperature=0.8
    )
    from boggers.infer.sampling import Sampling

    wanted = mind_of(either).engine.generate(
        "Once upon",
        max_tokens=20,
        seed=3,
        sampling=Sampling(temperature=0.8, stop_at_separator=True),
    )
    (choice,) = done.choices
    assert "Once upon" + choice.text == wanted
    assert done.object == "text_completion"
    assert done.model == "small"
    assert done.id.startswith("cmpl-")
    assert choice.finish_reason in ("length", "stop")
    assert done.usage.prompt_tokens == 9
    assert done.usage.completion_tokens <= 20
    assert done.usage.total_tokens == 9 + done.usage.completion_tokens


def test_prompts_come_as_text_lists_and_ids(either: Live) -> None:
    def ask(prompt: Any) -> list[str]:
        done = either.client.completions.create(
            model="small", prompt=prompt, max_tokens=12, seed=1, extra_body={"ignore_eos": True}
        )
        assert [choice.index for choice in done.choices] == list(range(len(done.choices)))
        return [choice.text for choice in done.choices]

    first, second = ask("abc"), ask("xyz")
    assert first != second
    assert ask(["abc", "xyz"]) == [*first, *second]
    assert ask([97, 98, 99]) == first
    assert ask([[97, 98, 99], [120, 121, 122]]) == [*first, *second]


def test_a_stream_adds_up_to_the_answer(either: Live) -> None:
    asked = {"model": "small", "prompt": "ab", "max_tokens": 30, "seed": 5, "n": 2}
    whole = either.client.completions.create(**asked)
    texts, ends, usage = {0: "", 1: ""}, {}, None
    for chunk in either.client.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    assert [texts[0], texts[1]] == [choice.text for choice in whole.choices]
    assert [ends[0], ends[1]] == [choice.finish_reason for choice in whole.choices]
    assert usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_log_probabilities_and_echo(either: Live) -> None:
    done = either.client.completions.create(
        model="small", prompt="hello", max_tokens=3, echo=True, logprobs=5, temperature=0
    )
    (choice,) = done.choices
    told = choice.logprobs
    assert choice.text.startswith("hello")
    assert told.tokens[:5] == list("hello")
    assert told.token_logprobs[0] is None
    assert told.top_logprobs[0] is None
    assert told.text_offset[:5] == [0, 1, 2, 3, 4]
    assert len(told.tokens) == 8
    for token, logprob, top in zip(
        told.tokens[1:], told.token_logprobs[1:], told.top_logprobs[1:], strict=True
    ):
        assert top[token] == logprob <= 0
        assert 5 <= len(top) <= 6
    for token, top in zip(told.tokens[5:], told.top_logprobs[5:], strict=True):
        assert max(top, key=top.get) == token  # greedy
    scored = either.client.completions.create(
        model="small", prompt="hello", max_tokens=0, echo=True, logprobs=0
    )
    assert scored.choices[0].text == "hello"
    assert scored.choices[0].logprobs.token_logprobs == told.token_logprobs[:5]
    assert scored.choices[0].logprobs.top_logprobs is None


def test_several_choices_and_the_best_of_many(either: Live) -> None:
    many = either.client.completions.create(
        model="small", prompt="q", max_tokens=8, n=4, seed=2, logprobs=0
    )
    assert len(many.choices) == 4

    def mean(choice: Any) -> float:
        found: float = np.mean(choice.logprobs.token_logprobs)
        return found

    best = either.client.completions.create(
        model="small", prompt="q", max_tokens=8, n=1, best_of=4, seed=2, logprobs=0
    )
    assert best.choices[0].text == max(many.choices, key=mean).text
    assert best.usage.completion_tokens == many.usage.completion_tokens


def test_stop_strings(either: Live) -> None:
    def ask(**options: Any) -> Any:
        return either.client.completions.create(
            model="small", prompt="q", max_tokens=40, seed=8, **options
        ).choices[0]

    whole = ask().text
    stop = whole[7:9]
    for given in (stop, ["\x00never", stop]):
        stopped = ask(stop=given)
        assert stopped.text == whole[: whole.find(stop)]
        assert stopped.finish_reason == "stop"
        assert stopped.stop_reason == stop


def test_every_way_of_drawing_changes_what_is_drawn(live: Live) -> None:
    def ask(**options: Any) -> str:
        extra = {k: options.pop(k) for k in list(options) if k in OURS}
        done = live.client.completions.create(
            model="small", prompt="q", max_tokens=40, seed=8, **options, extra_body=extra
        )
        text: str = done.choices[0].text
        return text

    plain = ask()
    assert ask() == plain
    for changed in (
        {"temperature": 0.1},
        {"temperature": 0},
        {"top_p": 0.3},
        {"top_k": 2},
        {"min_p": 0.5},
        {"logit_bias": {"65": 100}},
        {"presence_penalty": 2.0},
        {"frequency_penalty": 2.0},
        {"repeat_penalty": 5.0},
        {"relax_steps": 1},
        {"relax_tolerance": 10.0, "relax_steps": 5},
        {"energy_bias": {"towards": ["A"], "strength": 50.0}},
        {"max_tokens": 3},
    ):
        assert ask(**{**changed}) != plain, changed  # type: ignore[arg-type]
    assert ask(logit_bias={"65": 100}) == "A" * 40
    assert "AA" not in ask(logit_bias={"65": 50}, no_repeat_last_extra=100.0)


OURS = ("top_k", "min_p", "repeat_penalty", "no_repeat_last_extra", "relax_steps",
        "relax_tolerance", "energy_bias", "max_tokens")  # fmt: skip


def test_a_chat_is_the_template_continued(either: Live) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": [{"type": "text", "text": "How are you?"}]},
    ]
    done = either.client.chat.completions.create(
        model="small", messages=messages, max_tokens=25, seed=4, logprobs=True, top_logprobs=2
    )
    plain = either.client.completions.create(
        model="small",
        prompt="Be brief.\n\nUser: Hello\nAssistant: Hi.\nUser: How are you?\nAssistant:",
        max_tokens=25,
        seed=4,
        stop=["\nUser:", "\nAssistant:"],
    )
    (choice,) = done.choices
    assert done.object == "chat.completion"
    assert choice.message.role == "assistant"
    assert choice.message.content == plain.choices[0].text.strip()
    assert len(choice.logprobs.content) == done.usage.completion_tokens
    for token in choice.logprobs.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 2
        assert token.bytes is None or bytes(token.bytes).decode() == token.token

    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in either.client.chat.completions.create(
            model="small", messages=messages, max_completion_tokens=25, seed=4, stream=True
        )
        if chunk.choices
    ]
    assert "".join(pieces) == choice.message.content


def test_models_and_embeddings(either: Live) -> None:
    (model,) = either.client.models.list().data
    assert model.id == "small"
    assert model.meta["n_vocab"] == 257
    assert either.client.models.retrieve("small").id == "small"

    texts = ["whales in the sea", "whales in the sea!", "\x01\x7f\x02"]
    found = either.client.embeddings.create(model="small", input=texts)  # base64 on the way
    plain = either.client.embeddings.create(model="small", input=texts, encoding_format="float")
    vectors = np.array([one.embedding for one in found.data])
    np.testing.assert_allclose(vectors, [one.embedding for one in plain.data], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors.shape == (3, 16)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert found.usage.prompt_tokens == sum(map(len, texts))
    long = either.client.embeddings.create(model="small", input=["ab" * 200, "ab" * 200])
    assert long.data[0].embedding == long.data[1].embedding


def refused(live: Live, error: type[openai.APIStatusError], **options: Any) -> Any:
    extra = {k: options.pop(k) for k in list(options) if k in (*OURS, "nonsense", "state")}
    with pytest.raises(error) as caught:
        live.client.completions.create(
            **{"model": "small", "prompt": "a", **options}, extra_body=extra
        )
    body: Any = caught.value.body
    assert set(body) == {"message", "type", "param", "code"}
    assert body["message"].endswith(".")
    return body


def test_errors_are_objects_with_sentences(live: Live) -> None:
    bad = openai.BadRequestError
    assert refused(live, openai.NotFoundError, model="gpt-4")["code"] == "model_not_found"
    assert refused(live, openai.NotFoundError, state="nowhere")["code"] == "state_not_found"
    assert refused(live, bad, max_tokens=1_000_000_000)["param"] == "max_tokens"
    assert refused(live, bad, temperature=-1)["param"] == "temperature"
    assert refused(live, bad, n=17)["param"] == "n"
    assert refused(live, bad, prompt=[257])["param"] == "prompt"
    assert refused(live, bad, prompt=[])["param"] == "prompt"
    assert "nonsense" in refused(live, bad, nonsense=1)["message"]
    assert refused(live, bad, logit_bias={"9999": 1})["param"] == "logit_bias"
    assert refused(live, bad, logit_bias={"A": 1})["param"] == "logit_bias"
    assert "best_of" in refused(live, bad, n=3, best_of=2)["message"]
    assert "streamed" in refused(live, bad, best_of=2, stream=True)["message"]
    assert refused(live, bad, prompt="x" * 40_000)["code"] == "context_length_exceeded"
    assert "either" in refused(live, bad, energy_bias={})["message"]
    assert refused(live, bad, energy_bias={"away": [300]})["param"] == "energy_bias"


def test_a_key_is_asked_for(serve: Serve) -> None:
    live = serve(stream_mind(), api_keys=("right", "also right"))
    for key in ("wrong", "righ", "Right"):
        client = live.openai(key)
        with pytest.raises(openai.AuthenticationError):
            client.completions.create(model="small", prompt="a")
    for key in ("right", "also right"):
        client = live.openai(key)
        assert client.completions.create(model="small", prompt="a", max_tokens=1).choices
    http = live.http
    assert http.get("/metrics").status_code == 401
    assert http.get("/v1/models").status_code == 401
    assert http.get("/health").status_code == 200
    assert http.get("/").status_code == 200
