"""The window model: batch invariance, everything learns, every option has an effect."""

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from boggers.errors import UserError
from boggers.model.original import PHYSICS
from boggers.model.window import WindowConfig, WindowModel

VOCAB = 23
DEFAULTS: dict[str, Any] = {name: getattr(WindowConfig(), name) for name in PHYSICS}
# The table below changes one option of the original's physics at a time.
SMALL: dict[str, Any] = {
    **PHYSICS,
    "state_dim": 12,
    "num_waves": 3,
    "window_size": 4,
    "num_dynamics_steps": 5,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def contexts(rows: int = 6) -> Tensor:
    return torch.randint(0, VOCAB, (rows, 4), generator=generator(1))


def model(**options: Any) -> WindowModel:
    return WindowModel(WindowConfig(**{**SMALL, **options}), VOCAB, generator())


def outputs(made: WindowModel) -> Tensor:
    """Everything an option could change, in training mode: logits and every gradient."""
    reading = made.train()(contexts(), generator=generator(2))
    targets = torch.randint(0, VOCAB, (6,), generator=generator(3))
    loss = F.cross_entropy(reading.logits, targets)
    loss = loss + 0.1 * F.cross_entropy(made.read_last(reading.relaxation.state), targets)
    loss.backward()
    gradients = [p.grad.flatten() for p in made.parameters() if p.grad is not None]
    return torch.cat([reading.logits.detach().flatten(), *gradients])


def test_embeddings_are_centred_unit_vectors() -> None:
    state = model().embed(contexts())
    torch.testing.assert_close(state.norm(dim=-1), torch.ones(6, 4))
    assert state.mean(dim=-1).abs().max() < 1e-6


@pytest.mark.parametrize("options", [{}, DEFAULTS], ids=["original", "default"])
def test_logits_of_a_row_do_not_depend_on_its_batch(options: dict[str, Any]) -> None:
    made = model(**options).eval()
    with torch.no_grad():
        together = made(contexts()).logits
        for row in range(6):
            alone = made(contexts()[row : row + 1]).logits[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        DEFAULTS,
        {"readout_fusion": True, "window_interaction": True, "breaks": False},
        {"tension_strength": 0.5, "single_state_head": True},
        {"num_dynamics_steps": 0},
        {"dynamics": "waves"},
        {"dynamics": "vectorized", "vectorized_num_heads": 2, "use_lorentz": True},
        {"dynamics": "simple", "simple_num_heads": 2, "negative_definite": True},
    ],
    ids=str,
)
def test_every_parameter_learns(options: dict[str, Any]) -> None:
    made = model(**options)
    outputs(made)
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


HEADS = {"dynamics": "vectorized", "vectorized_num_heads": 4, "energy_step": 0.5}
SIMPLE = {"dynamics": "simple", "simple_num_heads": 2, "energy_step": 0.5}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "state_dim": ({}, {"state_dim": 24}),
    "num_waves": ({}, {"num_waves": 2}),
    "num_dynamics_steps": ({}, {"num_dynamics_steps": 6}),
    "gradient_steps": ({}, {"gradient_steps": 2}),
    "convergence_epsilon": ({"breaks": False}, {"convergence_epsilon": 1.0}),
    "min_attractor_steps": ({"convergence_epsilon": 1e9}, {"min_attractor_steps": 4}),
    "energy_step": ({}, {"energy_step": 0.2}),
    "wave_energy": ({}, {"wave_energy": False}),
    "memory_patterns": ({}, {"memory_patterns": 4}),
    "state_normalization": ({}, {"state_normalization": False}),
    "wave_coupling": ({}, {"wave_coupling": True}),
    "coupling": ({}, {"coupling": False}),
    "position_asymmetry": ({}, {"position_asymmetry": 0.5}),
    "readout": ({}, {"readout": "tied"}),
    "readout_fusion": ({}, {"readout_fusion": True}),
    "single_state_head": ({}, {"single_state_head": True}),
    "embedding_dropout": ({}, {"embedding_dropout": 0.3}),
    "readout_dropout": ({}, {"readout_dropout": 0.3}),
    "tension_weights": ({"tension_strength": 0.5}, {"tension_weights": (2.0, 1.0, 0.0)}),
    "tension_entropy": ({}, {"tension_entropy": True}),
    "tension_strength": ({}, {"tension_strength": 0.5}),
    "anchor_strength": ({}, {"anchor_strength": 0.5}),
    "anchor_pull": ({}, {"anchor_pull": 0.1}),
    "anchor_candidates": ({"anchor_pull": 0.1}, {"anchor_candidates": 3}),
    "anchor_scale": ({"anchor_pull": 0.1}, {"anchor_scale": "raw"}),
    "anchor_freeze": ({}, {"anchor_freeze": True, "anchor_freeze_threshold": 0.9}),
    "anchor_freeze_threshold": (
        {"anchor_freeze": True, "anchor_freeze_threshold": 0.9},
        {"anchor_freeze_threshold": 1e-4},
    ),
    "anchor_freeze_max_age": (
        {"anchor_freeze": True, "anchor_freeze_threshold": 1.5},
        {"anchor_freeze_max_age": 1},
    ),
    "adaptive_coupling": ({}, {"adaptive_coupling": True}),
    "adaptive_energy_step": ({"energy_step": 9.0}, {"adaptive_energy_step": True}),
    "window_interaction": ({}, {"window_interaction": True}),
    "interaction_scale": ({"window_interaction": True}, {"interaction_scale": 0.1}),
    "interaction_decay_tau": ({"window_interaction": True}, {"interaction_decay_tau": 1.0}),
    "breaks": ({}, {"breaks": False}),
    "gaussian_breaks": ({}, {"gaussian_breaks": True}),
    "break_tense": ({}, {"break_tense": 3.0}),
    "break_calm": ({"break_tense": 9.0}, {"break_calm": 8.0}),
    "break_strength": ({}, {"break_strength": 0.4}),
    "break_scale_min": ({}, {"break_scale_min": 0.5}),
    "break_scale_max": ({"break_target": 90.0}, {"break_scale_max": 0.3}),
    "break_target": ({}, {"break_target": 3.0}),
    "break_rejection": ({"gaussian_breaks": True}, {"break_rejection": True}),
    "dynamics": ({}, {"dynamics": "waves"}),
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
}


def test_the_table_names_every_option() -> None:
    options = {field.name for field in dataclasses.fields(WindowConfig)}
    # A bonus moves nothing until a memory of tokens writes it.
    assert options - {"window_size", "token_bonus"} == set(CHANGES)


@pytest.mark.parametrize("form", ["hold", "additive"])
def test_a_bonus_moves_what_it_is_of(form: str) -> None:
    made = model(token_bonus=form).eval()
    assert made.bonus is not None
    with torch.no_grad():
        without = made(contexts()).logits
        assert torch.equal(without, model().eval()(contexts()).logits)
        made.bonus.write(torch.full((VOCAB,), 0.2))
        assert not torch.equal(made(contexts()).logits, without)


@pytest.mark.parametrize("option", CHANGES)
def test_every_option_has_an_effect(option: str) -> None:
    around, change = CHANGES[option]
    before, after = outputs(model(**around)), outputs(model(**{**around, **change}))
    assert before.shape != after.shape or (before - after).abs().max() > 1e-7


def test_the_window_size_sets_the_context() -> None:
    made = WindowModel(WindowConfig(**{**SMALL, "window_size": 7}), VOCAB, generator())
    assert made(torch.zeros(2, 7, dtype=torch.int64)).logits.shape == (2, VOCAB)
    with pytest.raises(UserError, match="holds 7 tokens, 4 came"):
        made(contexts())


def test_settling_works_without_gradients_and_in_inference_mode() -> None:
    made = model().eval()
    with torch.no_grad():
        expected = made(contexts()).logits
    with torch.inference_mode():
        torch.testing.assert_close(made(contexts()).logits, expected)


def test_the_same_seed_gives_the_same_weights_and_noise() -> None:
    options = {"embedding_dropout": 0.2, "gaussian_breaks": True}
    assert torch.equal(outputs(model(**options)), outputs(model(**options)))


def test_dropout_is_off_in_evaluation_and_needs_a_generator_in_training() -> None:
    made = model(readout_dropout=0.5)
    made.eval()
    with torch.no_grad():
        assert torch.equal(made(contexts()).logits, made(contexts()).logits)
    made.train()
    with pytest.raises(UserError, match="generator"):
        made(contexts())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"state_dim": 10, "num_waves": 4}, "divisible by --num-waves; 10 and 4 came"),
        ({"window_size": 1}, "--window-size must be at least 2, 1 came"),
        ({"num_dynamics_steps": -1}, "--num-dynamics-steps must be 0 or more"),
        ({"readout_dropout": 1.0}, "--readout-dropout must be in"),
        ({"gradient_steps": 0}, "--gradient-steps must be 1 or more"),
    ],
)
def test_impossible_options_are_refused_in_a_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        WindowConfig(**{**SMALL, **options})


def test_parameter_counts_separate_the_table() -> None:
    counts = model().parameter_counts()
    assert counts.embedding == VOCAB * 12
    assert counts.total == sum(p.numel() for p in model().parameters())
