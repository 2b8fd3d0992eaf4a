"""The extra energy: exact forces, and tokens that become likelier or rarer."""

from typing import Any, Literal

import pytest
import torch

from boggers.errors import UserError
from boggers.model.stream import StreamModel
from boggers.model.window import WindowModel
from boggers.serve.bias import Bias, stream_energy, window_energy
from boggers.serve.dials import dials_for

from .conftest import Ask, Live, stream_mind, window_mind

KINDS: list[tuple[Literal["tokens", "text"], bool]] = [
    ("tokens", True),
    ("tokens", False),
    ("text", True),
    ("text", False),
]


@pytest.mark.parametrize(("kind", "towards"), KINDS)
def test_the_force_on_a_position_is_the_gradient(
    kind: Literal["tokens", "text"], towards: bool
) -> None:
    model = stream_mind().model.double()
    assert isinstance(model, StreamModel)
    with torch.no_grad():
        energy = stream_energy(model, Bias(kind, (1, 2, 90), towards, 1.7))
    state = torch.randn(2, 3, 16, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(energy.energy(state, state).sum(), state)
    torch.testing.assert_close(energy.force(state, state), -slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("kind", "towards"), KINDS)
def test_the_force_on_a_window_is_the_gradient(
    kind: Literal["tokens", "text"], towards: bool
) -> None:
    model = window_mind().model.double()
    assert isinstance(model, WindowModel)
    with torch.no_grad():
        energy = window_energy(model, Bias(kind, (1, 2, 90), towards, 1.7))
    state = torch.randn(2, 4, 16, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(energy.energy(state).sum(), state)
    with torch.no_grad():
        torch.testing.assert_close(energy.force(state), -slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["stream", "window"])
def test_states_are_drawn_towards_tokens_and_away(kind: str, ask: Ask) -> None:
    mind = stream_mind() if kind == "stream" else window_mind()
    vowels = tuple(b"aeiou")

    def share(bias: Bias | None) -> float:
        """Probability of a vowel as the next byte."""
        told = ask(mind, "whale", bias=bias, max_tokens=1, top_logprobs=257).tokens[0][0]
        found = dict(told.top)
        return sum(2.718281828 ** found[chr(v)] for v in vowels)

    plain = share(None)
    assert (
        share(Bias("tokens", vowels, True, 3.0)) > plain > share(Bias("tokens", vowels, False, 3.0))
    )


def test_a_sentence_draws_states_to_where_it_settles(ask: Ask) -> None:
    mind = stream_mind()
    sentence = tuple(b"the deep blue sea")

    def answer(bias: Bias | None) -> list[float]:
        told = ask(mind, "whale", bias=bias, max_tokens=8, measure=True).physics
        return [one.energy for one in told if one is not None]

    plain = answer(None)
    assert answer(Bias("text", sentence, True, 2.0)) != plain
    assert answer(Bias("text", sentence, False, 2.0)) != answer(Bias("text", sentence, True, 2.0))


def test_a_bias_needs_a_step_to_act_in() -> None:
    with pytest.raises(UserError, match="at least one relaxation step"):
        dials_for(stream_mind().model, 0, None, Bias("tokens", (1,), True, 1.0))
    with pytest.raises(UserError, match="from 0 to 64"):
        dials_for(stream_mind().model, 65)


def test_it_is_asked_for_over_http(live: Live) -> None:
    def text(**options: Any) -> str:
        body = {"prompt": "q", "max_tokens": 200, "seed": 1, "ignore_eos": True, **options}
        done = live.http.post("/v1/completions", json=body)
        assert done.status_code == 200, done.text
        said: str = done.json()["choices"][0]["text"]
        return said

    pushed = {"name": "vowels", "towards": ["a", "e", 105, "o", "u"], "strength": 40.0}
    drawn = text(energy_bias=pushed)
    assert sum(drawn.count(v) for v in "aeiou") > sum(text().count(v) for v in "aeiou") + 8
    assert text(energy_bias={"away": "whales in the sea", "strength": 20.0}) != text()
