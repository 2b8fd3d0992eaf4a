"""The settling of a stream: downhill, each position by itself, its gradient where it was asked."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from boggers.dynamics.breaks import BreakRule
from boggers.dynamics.settle import Settling, Slope, settle
from boggers.errors import UserError
from boggers.field.memory import GatedMemory, RecallMemory
from boggers.field.metric import Metric, TurningMetric

WIDTH = 16


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slope(steepness: float = 1.0) -> Slope:
    memory = GatedMemory(WIDTH, 24, generator())
    memory.value.data *= 10 * steepness
    return Slope(terms=[memory], metric=TurningMetric(WIDTH, 3))


def feel(state: Tensor, step: int) -> Tensor:
    """A little of each position's own past, fading by half; another little at every step."""
    felt, carried = [], torch.zeros_like(state[:, 0])
    for t in range(state.shape[1]):
        carried = 0.5 * carried + state[:, t] / state[:, t].norm(dim=-1, keepdim=True)
        felt.append(carried / (step + 1))
    return torch.stack(felt, dim=1)


def nothing(state: Tensor, step: int) -> Tensor:
    return torch.zeros_like(state)


def states(rows: int = 3, length: int = 7) -> Tensor:
    return torch.randn(rows, length, WIDTH, generator=generator(1))


def rises(settled: Settling) -> Tensor:
    """How far the energy rose in the descent of any step of any position; 0 where it never did."""
    assert settled.fall is not None
    return (-settled.fall).clamp_min(0).amax(0)


def test_a_guarded_descent_never_rises_anywhere() -> None:
    steep = slope(steepness=50.0)
    assert rises(settle(states(64, 64), steep, feel, steps=6)).max() > 0, "nothing to guard"
    settled = settle(states(64, 64), replace(steep, guarded=True), feel, steps=6)
    assert rises(settled).max() == 0
    assert settled.fall is not None
    assert (settled.fall > 0).float().mean() > 0.99


def recall(steps: int) -> RecallMemory:
    memory = RecallMemory(WIDTH, 24, steps, generator())
    torch.nn.init.normal_(memory.value, generator=generator(1))
    return memory


def test_a_recall_never_rises_unguarded() -> None:
    memory = recall(4)
    for depth in (-3.0, 0.0, 3.0):
        torch.nn.init.constant_(memory.depth, depth)
        settled = settle(states(64, 64), Slope(terms=[memory], metric=Metric(4)), feel, steps=4)
        assert rises(settled).max() == 0


def test_steps_beyond_the_learned_ones_feel_nothing_new() -> None:
    asked = []

    def counted(state: Tensor, step: int) -> Tensor:
        asked.append(step)
        return feel(state, step)

    short, long = (settle(states(), slope(), counted, steps=steps) for steps in (3, 6))
    assert asked == [0, 1, 2] * 2
    assert torch.equal(short.proposal, long.proposal)
    assert not torch.equal(short.state, long.state)


def test_a_recall_is_at_rest_after_the_learned_steps() -> None:
    memory = recall(2)
    torch.nn.init.uniform_(memory.depth, -2, 2, generator=generator(3))
    own = Slope(terms=[memory], metric=Metric(2))
    short, long = (settle(states(), own, feel, steps=steps) for steps in (2, 6))
    torch.testing.assert_close(long.state, short.state)
    assert long.residual.max() < 1e-6 < short.residual.min()
    force = own.at(1).force(short.state, short.proposal)
    assert force.norm() < 1e-5 * memory.force(short.proposal, short.proposal).norm()


def test_each_step_of_a_recall_has_its_own_depth() -> None:
    memory = recall(2)
    memory.depth.data[0] = -2.0
    own, start = Slope(terms=[memory], metric=Metric(2)), states()
    for step in (0, 1):
        rest = start + own.at(step).force(start, start)
        expected = start + 2 * memory.depth[step].sigmoid() * (memory.answers(start) @ memory.value)
        torch.testing.assert_close(rest, expected)
    settled = settle(start, own, feel, steps=2)
    assert settled.slope.step == 1


def test_what_is_asked_for_is_returned() -> None:
    settled = settle(states(), slope(), feel, steps=2, keep_path=True)
    assert settled.energy is not None
    assert settled.energy.shape == (2, 3, 7)
    assert settled.path is not None
    assert len(settled.path) == 3
    assert torch.equal(settled.path[-1], settled.state)
    last = (settled.path[2] - settled.path[1]).norm(dim=-1) / settled.path[2].norm(dim=-1)
    torch.testing.assert_close(settled.residual, last)
    assert (settled.steps == 2).all()


def test_no_steps_leave_the_start() -> None:
    start = states()
    settled = settle(start, slope(), feel, steps=0)
    assert torch.equal(settled.state, start)
    assert (settled.residual == 0).all()
    assert (settled.steps == 0).all()


def test_a_resting_position_stays_while_others_go_on() -> None:
    patient = replace(slope(), tolerance=0.2)
    settled = settle(states(8, 32), patient, feel, steps=6, keep_path=True)
    assert settled.path is not None
    assert 1 <= settled.steps.min() < settled.steps.max()
    for taken in range(1, 6):
        rested = settled.steps == taken
        assert torch.equal(settled.path[taken][rested], settled.state[rested])
    assert (settled.residual[settled.steps < 6] < 0.2).all()


@pytest.mark.parametrize("tolerance", [None, 0.05])
@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("kind", [None, "directional", "gaussian"])
def test_a_position_settles_as_it_would_alone(
    tolerance: float | None, guarded: bool, kind: str | None
) -> None:
    breaks = None
    if kind is not None:
        breaks = BreakRule(kind=kind, tense=0.02, calm=0.01, patience=1)  # type: ignore[arg-type]
    own = replace(slope(), tolerance=tolerance, guarded=guarded, breaks=breaks)
    start = states()
    together = settle(start, own, nothing, steps=4, generator=generator(2))
    alone = settle(start[1:2, 4:5], own, nothing, steps=4, generator=generator(2))
    torch.testing.assert_close(alone.state[0, 0], together.state[1, 4], rtol=1e-5, atol=1e-6)
    assert alone.steps[0, 0] == together.steps[1, 4]
    assert alone.breaks[0, 0] == together.breaks[1, 4]
    if kind is not None:
        assert together.breaks.sum() > 0


def test_a_rejected_break_never_raises_the_energy() -> None:
    rule = BreakRule(tense=0.02, calm=0.01, patience=1, strength=2.0)
    wild, tame = (replace(slope(), breaks=replace(rule, reject=r)) for r in (False, True))
    counts = [settle(states(8, 32), s, feel, steps=4).breaks.sum() for s in (wild, tame)]
    assert 0 < counts[1] < counts[0]


def test_gaussian_breaks_need_a_generator() -> None:
    rule = BreakRule(kind="gaussian", tense=0.02, calm=0.01)
    with pytest.raises(UserError, match="random generator"):
        settle(states(), replace(slope(), breaks=rule), feel, steps=1)


def test_gradients_travel_back_as_far_as_asked() -> None:
    def gradient(last: int | None) -> tuple[Tensor, Tensor]:
        own, start = slope(), states().requires_grad_()
        settled = settle(start, own, feel, steps=3, gradient_steps=last, keep_energy=False)
        settled.state.square().mean().backward()
        assert isinstance(own.terms[0], GatedMemory)
        assert own.terms[0].key.grad is not None
        assert start.grad is not None
        return own.terms[0].key.grad, start.grad

    keys, starts = zip(*(gradient(last) for last in (None, 3, 2, 1)), strict=True)
    assert torch.equal(keys[0], keys[1])
    assert torch.equal(starts[0], starts[1])
    assert not torch.allclose(keys[1], keys[2])
    assert not torch.allclose(keys[2], keys[3])
    assert starts[3].abs().sum() > 0
