"""The token model: every row alone, every parameter learns, every option matters."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from boggers.errors import UserError
from boggers.model.token import TokenConfig, TokenModel

VOCAB = 13
SMALL: dict[str, Any] = {"state_dim": 16, "num_waves": 2, "sequence_length": 6}
KINDS: list[dict[str, Any]] = [
    {},
    {"dynamics": "simple", "simple_num_heads": 2},
    {"dynamics": "simple", "head_dim_mode": "split", "simple_num_heads": 2},
    {"dynamics": "vectorized", "vectorized_num_heads": 2, "vectorized_rank": 3},
    {"dynamics": "hierarchical", "vectorized_num_heads": 2, "phrase_rows": 7},
    {"readout": "flat", "breaks": True, "break_tense": 0.1, "state_normalization": False},
    {"readout": "distance"},
]


def model(**options: Any) -> TokenModel:
    config = TokenConfig(**{**SMALL, **options})
    return TokenModel(config, VOCAB, torch.Generator().manual_seed(1))


def tokens(rows: int = 5) -> Tensor:
    return torch.randint(VOCAB, (rows, 6), generator=torch.Generator().manual_seed(2))


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_row_alone_is_the_row_in_company(options: dict[str, Any]) -> None:
    made = model(**options).double().eval()
    with torch.no_grad():
        together = made(tokens(), generator=noise())
        for row in range(5):
            alone = made(tokens()[row : row + 1], generator=noise())
            torch.testing.assert_close(alone.logits[0], together.logits[row], rtol=1e-9, atol=1e-9)
            assert alone.settled("steps")[0].tolist() == together.settled("steps")[row].tolist()


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_text_in_pieces_is_the_whole_text_and_nothing_looks_ahead(
    options: dict[str, Any],
) -> None:
    made = model(**options).double().eval()
    with torch.no_grad():
        whole = made(tokens(), generator=noise())
        first = made(tokens()[:, :4], generator=noise())
        second = made(tokens()[:, 4:], state=first.state, generator=noise())
    assert torch.equal(torch.cat([first.logits, second.logits], dim=1), whole.logits)
    for name, value in second.state.tensors().items():
        assert torch.equal(value, whole.state.tensors()[name]), name


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_every_parameter_learns(options: dict[str, Any]) -> None:
    made = model(**options).train()
    reading = made(tokens(), generator=noise())
    targets = tokens().roll(-1, dims=1)
    torch.nn.functional.cross_entropy(reading.logits.flatten(0, 1), targets.flatten()).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def outputs(**options: Any) -> Tensor:
    """Logits, steps and gradients, in training mode."""
    made = model(**options).train()
    reading = made(tokens(), generator=noise())
    reading.logits.square().mean().backward()
    grads = [p.grad.flatten() for p in made.parameters() if p.grad is not None]
    steps = reading.settled("steps").flatten()
    return torch.cat([reading.logits.flatten(), steps, *grads]).detach()


TENSE = {"breaks": True, "break_tense": 0.1}
SIMPLE = {"dynamics": "simple", "simple_num_heads": 2}
HEADS = {"dynamics": "vectorized", "vectorized_num_heads": 4, "drift_step": 0.5}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dynamics": ({}, {"dynamics": "vectorized"}),
    "vectorized_num_heads": (HEADS, {"vectorized_num_heads": 2}),
    "vectorized_rank": (HEADS, {"vectorized_rank": 2}),
    "vectorized_coupling": (HEADS, {"vectorized_coupling": 0.9}),
    "vectorized_strong_diffusion": (HEADS, {"vectorized_strong_diffusion": True}),
    "use_lorentz": (HEADS, {"use_lorentz": True}),
    "original_drift": (HEADS, {"original_drift": True}),
    "simple_num_heads": (SIMPLE, {"simple_num_heads": 4}),
    "head_dim_mode": (SIMPLE, {"head_dim_mode": "split"}),
    "linear_mixing": (SIMPLE, {"linear_mixing": True}),
    "mixing_gate": (SIMPLE, {"mixing_gate": 0.9}),
    "head_tension_weighting": (
        {**SIMPLE, "head_dim_mode": "split"},
        {"head_tension_weighting": True},
    ),
    "negative_definite": (SIMPLE, {"negative_definite": True}),
    "state_dim": ({}, {"state_dim": 24}),
    "num_waves": ({}, {"num_waves": 4}),
    "num_dynamics_steps": ({"rest_tension": 0.0}, {"num_dynamics_steps": 5}),
    "min_attractor_steps": ({"rest_tension": 9.0}, {"min_attractor_steps": 3}),
    "rest_tension": ({"rest_tension": 0.1}, {"rest_tension": 9.0}),
    "gradient_steps": ({}, {"gradient_steps": 1}),
    "drift_step": (HEADS, {"drift_step": 0.2}),
    "wave_interaction": ({}, {"wave_interaction": 0.5}),
    "wave_noise": ({}, {"wave_noise": False}),
    "context_gain": ({}, {"context_gain": 0.5}),
    "recent_signals": ({}, {"recent_signals": 2}),
    "slow_decay": ({}, {"slow_decay": 0.5}),
    "slow_gain": ({}, {"slow_gain": 0.5}),
    "slow_limit": ({}, {"slow_limit": 0.05}),
    "fast_weight": ({}, {"fast_weight": 0.5}),
    "slow_weight": ({}, {"slow_weight": 0.9}),
    "state_normalization": ({}, {"state_normalization": False}),
    "readout": ({}, {"readout": "flat"}),
    "phrase_rows": (
        {"dynamics": "hierarchical", "drift_step": 0.5},
        {"phrase_rows": 3},
    ),
    "embedding_dropout": ({}, {"embedding_dropout": 0.3}),
    "readout_dropout": ({}, {"readout_dropout": 0.4}),
    "tension_weights": ({"rest_tension": 0.5}, {"tension_weights": (9.0, 9.0, 9.0)}),
    "breaks": ({"break_tense": 0.1}, {"breaks": True}),
    "gaussian_breaks": (TENSE, {"gaussian_breaks": True}),
    "break_tense": (TENSE, {"break_tense": 90.0}),
    "break_strength": (TENSE, {"break_strength": 0.9}),
    "break_scale_min": (TENSE, {"break_scale_min": 0.9}),
    "break_scale_max": ({**TENSE, "break_target": 90.0}, {"break_scale_max": 0.3}),
    "break_target": (TENSE, {"break_target": 9.0}),
    "break_rejection": (
        {**TENSE, "gaussian_breaks": True},
        {"break_rejection": True},
    ),
}


def test_the_table_names_every_option() -> None:
    options = {field.name for field in dataclasses.fields(TokenConfig)}
    assert options - {"sequence_length"} == set(CHANGES)


@pytest.mark.parametrize("option", CHANGES)
def test_every_option_has_an_effect(option: str) -> None:
    around, change = CHANGES[option]
    before, after = outputs(**around), outputs(**{**around, **change})
    assert before.shape != after.shape or (before - after).abs().max() > 1e-7


def test_one_seed_one_result() -> None:
    options = {"readout_dropout": 0.2, **TENSE, "gaussian_breaks": True}
    assert torch.equal(outputs(**options), outputs(**options))


def test_a_state_is_forked_and_joined() -> None:
    made = model().eval()
    with torch.no_grad():
        state = made(tokens()).state
        forked = state.select([3, 3, 0])
        logits, _ = made.step(torch.tensor([1, 2, 1]), forked)
        alone, _ = made.step(torch.tensor([1]), state.select([3]))
        torch.testing.assert_close(logits[:1], alone)
        joined = type(state).join([state.select([0]), state.select([1, 2])])
    assert joined.rows == 3
    assert torch.equal(joined.fast, state.fast[:3])


def test_a_state_that_is_not_finite_begins_anew() -> None:
    made = model().eval()
    with torch.no_grad():
        state = made(tokens()).state
    state.fast[1, 0] = torch.nan
    sound = state.detached()
    assert torch.equal(sound.fast[1], torch.zeros(16))
    assert torch.equal(sound.fast[0], state.fast[0])
    assert int(sound.heard[1]) == 0


def test_resting_rows_stay_where_they_are() -> None:
    with torch.no_grad():
        strain = model(rest_tension=0.0).eval()(tokens(40)).settled("tension")
        middle = float(strain.median())
        made = model(rest_tension=middle, num_dynamics_steps=9).eval()
        steps = made(tokens(40)).settled("steps")
    assert steps.min() >= 2
    assert steps.unique().numel() > 1


def test_a_state_of_other_rows_is_refused() -> None:
    made = model().eval()
    with pytest.raises(UserError, match="5 texts cannot be carried on with 2"):
        made(tokens(2), state=made.start(5))


def test_jitter_needs_a_generator_in_training() -> None:
    with pytest.raises(UserError, match="Jitter needs"):
        model().train()(tokens())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_waves": 3}, "divisible by --num-waves"),
        ({"sequence_length": 1}, "--sequence-length must be 2 or more"),
        ({"dynamics": "hierarchical", "num_waves": 1}, "must be even"),
        ({"slow_decay": 1.0}, "below 1"),
        ({"vectorized_num_heads": 0}, "at least 1"),
        ({"head_tension_weighting": True}, "two or more"),
        ({"simple_num_heads": 2, "vectorized_rank": 3}, "belongs to another drift"),
        ({"dynamics": "hierarchical", "use_lorentz": True}, "--use-lorentz needs"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model(**options)


def test_heads_must_divide_a_wave() -> None:
    with pytest.raises(UserError, match="must divide the width of a wave"):
        model(dynamics="vectorized", vectorized_num_heads=3)
