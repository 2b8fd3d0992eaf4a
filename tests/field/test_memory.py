"""The memories of a stream: exact forces, tangent to the state, deaf to its length."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from boggers.field.anchors import Anchors, AnchorWell
from boggers.field.memory import (
    GatedMemory,
    LogSumExpMemory,
    Memory,
    RecallMemory,
    RectifiedMemory,
)

WIDTH, PATTERNS, WAVES = 12, 20, 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recall() -> Memory:
    return RecallMemory(WIDTH, PATTERNS, 1, generator())


def gated() -> Memory:
    return GatedMemory(WIDTH, PATTERNS, generator())


def rectified() -> Memory:
    return RectifiedMemory(WIDTH, PATTERNS, generator())


def log_sum_exp() -> Memory:
    return LogSumExpMemory(WIDTH, PATTERNS, WAVES, generator())


def well() -> Memory:
    table = torch.randn(30, WIDTH, generator=generator(5), dtype=torch.float64)
    return AnchorWell(Anchors(table, lambda rows: rows[:, 0] @ table.T, 4), 0.7)


ALL = pytest.mark.parametrize("make", [recall, gated, rectified, log_sum_exp, well])
OF_DIRECTION = pytest.mark.parametrize("make", [gated, rectified, log_sum_exp, well])


def ready(make: Callable[[], Memory]) -> Memory:
    """With every parameter away from its start, so that a forgotten one would show."""
    memory = make().double()
    for parameter in memory.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator(3)).double()
    return memory


def states(scale: float = 1.0) -> Tensor:
    return scale * torch.randn(2, 5, WIDTH, generator=generator(1), dtype=torch.float64)


def proposals() -> Tensor:
    return torch.randn(2, 5, WIDTH, generator=generator(2), dtype=torch.float64)


@ALL
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_the_force_is_the_exact_negative_gradient(make: Callable[[], Memory], scale: float) -> None:
    memory = ready(make)
    state = states(scale).requires_grad_()
    (gradient,) = torch.autograd.grad(memory.energy(state, proposals()).sum(), state)
    torch.testing.assert_close(memory.force(state, proposals()), -gradient, rtol=1e-9, atol=1e-12)


@ALL
def test_the_force_is_differentiable_by_ordinary_backpropagation(
    make: Callable[[], Memory],
) -> None:
    memory = ready(make)
    state = states().requires_grad_()
    assert torch.autograd.gradcheck(memory.force, (state, proposals().requires_grad_()))


@OF_DIRECTION
def test_the_force_turns_a_state_and_does_not_stretch_it(make: Callable[[], Memory]) -> None:
    memory, state = ready(make), states()
    force = memory.force(state, proposals())
    along = (force * state).sum(-1).abs() / (force.norm(dim=-1) * state.norm(dim=-1))
    assert along.max() < 1e-5
    assert force.norm(dim=-1).min() > 0


@OF_DIRECTION
def test_the_energy_reads_the_direction_alone(make: Callable[[], Memory]) -> None:
    memory, state = ready(make), states()
    torch.testing.assert_close(
        memory.energy(state, proposals()), memory.energy(7 * state, proposals()), rtol=1e-5, atol=0
    )


@ALL
def test_a_state_of_zero_feels_a_finite_force(make: Callable[[], Memory]) -> None:
    memory = ready(make)
    nothing = torch.zeros(1, 1, WIDTH, dtype=torch.float64)
    assert memory.force(nothing, nothing).isfinite().all()
    assert memory.energy(nothing, nothing).isfinite().all()


@ALL
def test_positions_do_not_feel_each_other(make: Callable[[], Memory]) -> None:
    memory, state = ready(make), states()
    changed = state.clone()
    changed[0, 2] = 9.0
    others = torch.ones(2, 5, dtype=torch.bool)
    others[0, 2] = False
    assert torch.equal(
        memory.force(changed, proposals())[others], memory.force(state, proposals())[others]
    )
    assert torch.equal(
        memory.energy(changed, proposals())[others], memory.energy(state, proposals())[others]
    )


@pytest.mark.parametrize("make", [recall, gated, rectified, log_sum_exp])
def test_every_parameter_of_a_memory_learns(make: Callable[[], Memory]) -> None:
    memory = make()
    if isinstance(memory, RecallMemory):
        torch.nn.init.normal_(memory.value, generator=generator())
    force = memory.force(states().float(), proposals().float())
    (force * states(2.0).float().sin()).sum().backward()
    for name, parameter in memory.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_recall_comes_to_rest_in_one_step_of_rate_one() -> None:
    memory, proposal = ready(recall), proposals()
    rest = proposal + memory.force(proposal, proposal)
    torch.testing.assert_close(memory.force(rest, proposal), torch.zeros_like(rest))
    fall = memory.energy(proposal, proposal) - memory.energy(rest, proposal)
    torch.testing.assert_close(fall, 0.5 * memory.force(proposal, proposal).square().sum(-1))


@pytest.mark.parametrize("rate", [0.1, 1.0, 1.9])
def test_a_recall_goes_down_at_any_rate_below_two(rate: float) -> None:
    memory, state, proposal = ready(recall), states(5.0), proposals()
    moved = state + rate * memory.force(state, proposal)
    assert (memory.energy(moved, proposal) < memory.energy(state, proposal)).all()
