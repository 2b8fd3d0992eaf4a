"""The memories of a stream: exact forces, tangent to the state, deaf to its length."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from boggers.field.anchors import Anchors, AnchorWell
from boggers.field.memory import GatedMemory, LogSumExpMemory, Memory, RectifiedMemory

WIDTH, PATTERNS, WAVES = 12, 20, 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gated() -> Memory:
    return GatedMemory(WIDTH, PATTERNS, generator())


def rectified() -> Memory:
    return RectifiedMemory(WIDTH, PATTERNS, generator())


def log_sum_exp() -> Memory:
    return LogSumExpMemory(WIDTH, PATTERNS, WAVES, generator())


def well() -> Memory:
    table = torch.randn(30, WIDTH, generator=generator(5), dtype=torch.float64)
    return AnchorWell(Anchors(table, lambda rows: rows[:, 0] @ table.T, 4), 0.7)


ALL = pytest.mark.parametrize("make", [gated, rectified, log_sum_exp, well])


def ready(make: Callable[[], Memory]) -> Memory:
    """With every parameter away from its start, so that a forgotten one would show."""
    memory = make().double()
    for parameter in memory.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator(3)).double()
    return memory


def states(scale: float = 1.0) -> Tensor:
    return scale * torch.randn(2, 5, WIDTH, generator=generator(1), dtype=torch.float64)


@ALL
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_force_is_the_exact_negative_gradient(make: Callable[[], Memory], scale: float) -> None:
    memory = ready(make)
    state = states(scale).requires_grad_()
    (gradient,) = torch.autograd.grad(memory.energy(state).sum(), state)
    torch.testing.assert_close(memory.force(state), -gradient, rtol=1e-9, atol=1e-12)


@ALL
def test_the_force_is_differentiable_by_ordinary_backpropagation(
    make: Callable[[], Memory],
) -> None:
    memory = ready(make)
    state = states().requires_grad_()
    assert torch.autograd.gradcheck(memory.force, (state,))


@ALL
def test_the_force_turns_a_state_and_does_not_stretch_it(make: Callable[[], Memory]) -> None:
    memory, state = ready(make), states()
    force = memory.force(state)
    along = (force * state).sum(-1).abs() / (force.norm(dim=-1) * state.norm(dim=-1))
    assert along.max() < 1e-5
    assert force.norm(dim=-1).min() > 0


@ALL
def test_the_energy_reads_the_direction_alone(make: Callable[[], Memory]) -> None:
    memory, state = ready(make), states()
    torch.testing.assert_close(memory.energy(state), memory.energy(7 * state), rtol=1e-5, atol=0)


@ALL
def test_a_state_of_zero_feels_a_finite_force(make: Callable[[], Memory]) -> None:
    memory = ready(make)
    nothing = torch.zeros(1, 1, WIDTH, dtype=torch.float64)
    assert memory.force(nothing).isfinite().all()
    assert memory.energy(nothing).isfinite().all()


@ALL
def test_positions_do_not_feel_each_other(make: Callable[[], Memory]) -> None:
    memory, state = ready(make), states()
    changed = state.clone()
    changed[0, 2] = 9.0
    others = torch.ones(2, 5, dtype=torch.bool)
    others[0, 2] = False
    assert torch.equal(memory.force(changed)[others], memory.force(state)[others])
    assert torch.equal(memory.energy(changed)[others], memory.energy(state)[others])


@pytest.mark.parametrize("make", [gated, rectified, log_sum_exp])
def test_every_parameter_of_a_memory_learns(make: Callable[[], Memory]) -> None:
    memory: nn.Module = make()
    force = memory.force(states().float())  # type: ignore[operator]
    (force * states(2.0).float().sin()).sum().backward()
    for name, parameter in memory.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
