"""The bonus of remembered tokens: exact gradients, and what becomes of the states' variety."""

import pytest
import torch

from boggers.field.bonus import HoldEnergy, HoldWell, TokenBonus
from boggers.model.window import WindowConfig, WindowModel


def test_forces_are_exact_gradients() -> None:
    random = torch.Generator().manual_seed(0)
    start, state = (torch.randn(3, 4, 8, generator=random, dtype=torch.float64) for _ in range(2))
    strength = torch.rand(3, 4, generator=random, dtype=torch.float64)
    state.requires_grad_()
    hold = HoldEnergy(torch.nn.functional.normalize(start, dim=-1), strength)
    (slope,) = torch.autograd.grad(hold.energy(state).sum(), state)
    assert torch.allclose(hold.force(state), -slope, atol=1e-12)
    well = HoldWell(start, strength)
    (slope,) = torch.autograd.grad(well.energy(state, start).sum(), state)
    assert torch.allclose(well.force(state, start), -slope, atol=1e-12)
    lengths = hold.force(state).norm(dim=-1)
    assert torch.allclose(lengths, 8**0.5 * strength)
    assert torch.allclose(well.force(state, start).norm(dim=-1), lengths)


def test_a_bonus_is_written_and_read_by_token() -> None:
    bonus = TokenBonus(4)
    bonus.write(torch.tensor([0.0, 0.1, 0.2, 0.3]))
    assert bonus.of(torch.tensor([[3, 1]])).tolist() == [[pytest.approx(0.3), pytest.approx(0.1)]]
    assert not list(bonus.parameters())


def mean_cosine(form: str | None, beta: float = 0.0475) -> float:
    """Between settled states of different tokens: D = 128, 8 steps, every token active."""
    config = WindowConfig(
        state_dim=128,
        num_dynamics_steps=8,
        memory_patterns=None,
        wave_coupling=False,
        token_bonus=form,  # type: ignore[arg-type]
    )
    model = WindowModel(config, 200, torch.Generator().manual_seed(0)).eval()
    if model.bonus is not None:
        model.bonus.write(torch.full((200,), beta))
    tokens = torch.arange(200).view(25, 8)
    with torch.no_grad():
        rows = torch.nn.functional.normalize(model.settle(tokens).state.flatten(0, 1), dim=-1)
    likeness = rows @ rows.t()
    return float((likeness.sum() - len(rows)) / (len(rows) * (len(rows) - 1)))


def test_holding_does_not_make_all_states_alike_and_adding_does() -> None:
    off, hold, additive = mean_cosine(None), mean_cosine("hold"), mean_cosine("additive")
    assert off < 0.2
    assert hold <= off + 0.01
    assert additive > off + 0.3
