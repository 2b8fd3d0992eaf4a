"""Every energy's closed-form force against autograd of its declared scalar."""

import pytest
import torch
from torch import Tensor

from boggers.field.anchors import AnchorEnergy, Anchors
from boggers.field.base import AbstractEnergy
from boggers.field.energy import PatternMemory, WaveEnergy
from boggers.field.tension import TensionEnergy, TensionWeights, tension
from boggers.field.waves import clamp_waves, normalise_waves

ROWS, WINDOW, WAVES, CHANNELS = 5, 6, 3, 4
WIDTH = WAVES * CHANNELS


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_state(seed: int = 1) -> Tensor:
    shape = (ROWS, WINDOW, WIDTH)
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def make(name: str) -> AbstractEnergy:
    if name == "wave":
        energy = WaveEnergy(WAVES, CHANNELS, generator())
        torch.nn.init.normal_(energy.inner_bias, generator=generator(3))
        return energy.double()
    if name == "memory":
        memory = PatternMemory(WINDOW, WIDTH, 7, generator())
        torch.nn.init.normal_(memory.threshold, generator=generator(3))
        return memory.double()
    if name == "tension":
        return TensionEnergy(0.7, TensionWeights(1.3, 0.6))
    table = torch.randn(9, WIDTH, generator=generator(4), dtype=torch.float64)
    scores = torch.randn(9, WINDOW * WIDTH, generator=generator(5), dtype=torch.float64)
    anchors = Anchors(table, lambda state: state.flatten(1) @ scores.t(), 4)
    return AnchorEnergy(anchors, 0.8)


@pytest.mark.parametrize("name", ["wave", "memory", "tension", "anchor"])
def test_force_is_the_exact_negative_gradient(name: str) -> None:
    energy = make(name)
    state = random_state().requires_grad_()
    values = energy.energy(state)
    assert values.shape == (ROWS,)
    (gradient,) = torch.autograd.grad(values.sum(), state)
    force = energy.force(state).detach()
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(force, -gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["wave", "memory", "tension", "anchor"])
def test_force_on_a_row_ignores_its_companions(name: str) -> None:
    energy = make(name)
    state = random_state()
    together = energy.force(state)
    alone = torch.cat([energy.force(state[b : b + 1]) for b in range(ROWS)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["wave", "memory", "tension", "anchor"])
def test_a_force_is_added_to_another_with_the_gradients_of_a_sum(name: str) -> None:
    energy, other, towards = make(name), random_state(7).requires_grad_(), random_state(8)
    state = random_state().requires_grad_()
    added, summed = energy.onto(other, state), other + energy.force(state)
    torch.testing.assert_close(added, summed, rtol=1e-12, atol=1e-14)
    got, expected = (
        torch.autograd.grad((total * towards).sum(), (other, state)) for total in (added, summed)
    )
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["wave", "memory"])
def test_every_parameter_of_an_energy_shapes_its_force(name: str) -> None:
    energy = make(name)
    energy.force(random_state()).square().sum().backward()
    for parameter, value in energy.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.abs().sum() > 0, parameter


def test_wave_energy_is_the_sum_of_its_waves() -> None:
    energy = make("wave")
    assert isinstance(energy, WaveEnergy)
    state = random_state()
    expected = torch.zeros(ROWS, dtype=torch.float64)
    for b in range(ROWS):
        for t in range(WINDOW):
            for n in range(WAVES):
                x = state[b, t, n * CHANNELS : (n + 1) * CHANNELS]
                hidden = torch.tanh(energy.inner[n] @ x + energy.inner_bias[n])
                expected[b] += (energy.outer[n] @ hidden + energy.offset[n]).item() / WINDOW
    torch.testing.assert_close(energy.energy(state).detach(), expected)


def test_tension_is_zero_only_for_equal_positions() -> None:
    equal = random_state()[:, :1].expand(-1, WINDOW, -1)
    assert tension(equal).total.abs().max() < 1e-12
    assert tension(random_state()).total.min() > 0.1


def test_tension_counts_the_readouts_entropy_when_given() -> None:
    state = random_state()
    uniform = torch.zeros(ROWS, 8, dtype=torch.float64)
    parts = tension(state, TensionWeights(1.0, 0.35, 0.5), uniform)
    torch.testing.assert_close(parts.entropy, torch.full((ROWS,), 8.0, dtype=torch.float64).log())
    bare = tension(state, TensionWeights(1.0, 0.35, 0.5))
    torch.testing.assert_close(parts.total - bare.total, 0.5 * parts.entropy)


def test_normalised_waves_have_length_one_and_the_right_gradient() -> None:
    state = random_state().requires_grad_()
    unit = normalise_waves(state, WAVES)
    lengths = unit.detach().unflatten(-1, (WAVES, CHANNELS)).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert torch.autograd.gradcheck(lambda s: normalise_waves(s, WAVES), state)


def test_a_silent_wave_stays_silent() -> None:
    state = torch.zeros(1, 2, WIDTH, dtype=torch.float64)
    assert normalise_waves(state, WAVES).abs().max() == 0
    assert clamp_waves(state, WAVES).abs().max() == 0


def test_clamped_waves_stay_in_range() -> None:
    state = torch.cat([random_state() * 1e-6, random_state() * 1e6])
    lengths = clamp_waves(state, WAVES).unflatten(-1, (WAVES, CHANNELS)).norm(dim=-1)
    assert lengths.min() > 0.99e-3
    assert lengths.max() < 12.001


def test_anchors_are_the_nearest_of_the_best_read_tokens() -> None:
    table = torch.eye(WIDTH, dtype=torch.float64)
    anchors = Anchors(table, lambda state: state.mean(dim=1), 3)
    state = random_state()
    best = state.mean(dim=1).topk(3).indices
    nearest = anchors.nearest(state)
    for b in range(ROWS):
        for t in range(WINDOW):
            gaps = (table[best[b]] - state[b, t]).norm(dim=-1)
            torch.testing.assert_close(nearest[b, t], table[best[b, gaps.argmin()]])
