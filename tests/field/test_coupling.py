"""The coupling's single operator against the double sum, and its lean."""

import math

import torch

from boggers.field.coupling import (
    PositionalCoupling,
    WaveCoupling,
    WindowInteraction,
    mix_positions,
)


def coupling(asymmetry: float) -> PositionalCoupling:
    made = PositionalCoupling(5).double()
    torch.nn.init.constant_(made.asymmetry, asymmetry)
    return made


def test_operator_equals_the_double_sum() -> None:
    made = coupling(0.4)
    state = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.zeros_like(state)
    gamma = math.log1p(math.exp(made.decay_raw.item())) + 1e-6
    rate = 0.07 * 0.09
    for i in range(5):
        for j in range(5):
            if i == j:
                continue
            lean = max(0.2, 1 + 1.25 * math.tanh(0.4) * (1 if j > i else -1))
            pull = rate * math.exp(-gamma * abs(i - j)) * lean
            expected[:, i] += pull * (state[:, j] - state[:, i])
    torch.testing.assert_close(
        mix_positions(made.laplacian(), state).detach(), expected, rtol=1e-6, atol=1e-9
    )


def test_symmetric_coupling_keeps_the_mean_and_lowers_the_spread() -> None:
    made = coupling(0.0)
    state = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = state + mix_positions(made.laplacian(), state).detach()
    torch.testing.assert_close(moved.mean(dim=1), state.mean(dim=1))
    assert (moved.var(dim=1).sum() < state.var(dim=1).sum()).item()


def test_the_lean_favours_later_tokens_above_zero() -> None:
    weights = coupling(0.5).weights()
    assert (weights[1, 2] > weights[2, 1]).item()
    assert (coupling(-5.0).weights()[1, 2] >= 0.2 * math.exp(-0.53)).item()


def test_interaction_starts_near_the_identity_and_damps_with_distance() -> None:
    generator = torch.Generator().manual_seed(2)
    free = WindowInteraction(4, 0.1, None, generator)
    assert (free.matrix - torch.eye(4)).abs().max() < 0.06
    damped = WindowInteraction(4, 0.1, 2.0, generator)
    with torch.no_grad():
        damped.matrix.fill_(1.0)
    expected = 0.1 * math.exp(-3 / 2.0)
    torch.testing.assert_close(damped.operator()[0, 3].item(), expected)
    torch.testing.assert_close(damped.operator()[2, 2].item(), 0.1)


def test_every_wave_mixes_positions_by_its_own_matrix() -> None:
    generator = torch.Generator().manual_seed(3)
    made = WaveCoupling(2, 3)
    assert made.matrix.abs().max() == 0
    torch.nn.init.normal_(made.matrix, generator=generator)
    state = torch.randn(4, 3, 10, generator=generator)
    mixed = mix_positions(made.matrix, state)
    for n, channels in enumerate((slice(0, 5), slice(5, 10))):
        expected = made.matrix[n] @ state[..., channels]
        torch.testing.assert_close(mixed[..., channels], expected)
