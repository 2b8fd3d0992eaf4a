"""Values that learn while a text is read, against the recurrence that defines them."""

import pytest
import torch
from torch import Tensor

from boggers.field.fast import BLOCK, SILENT, FastValues, Taught, TaughtRecall
from boggers.field.memory import RecallMemory

PATTERNS, WIDTH = 5, 8
LENGTH = 2 * BLOCK + 37


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def lively() -> FastValues:
    made = FastValues(PATTERNS, WIDTH).double()
    with torch.no_grad():
        made.strength.fill_(0.7)
        made.log_span.fill_(2.5)
    return made


def read() -> tuple[Tensor, Tensor]:
    """What patterns answered, and what was said, of two texts."""
    return drawn(1, 2, LENGTH, PATTERNS).relu().square(), drawn(2, 2, LENGTH, WIDTH)


def by_hand(made: FastValues, answers: Tensor, told: Tensor) -> tuple[Tensor, Taught]:
    """Position by position, from the equation."""
    fade = torch.exp(-1 / torch.exp(made.log_span))
    values, asked, found = torch.zeros(2, PATTERNS, WIDTH).double(), torch.zeros(2, PATTERNS), []
    for t in range(answers.shape[1]):
        unit = answers[:, t] / (answers[:, t].norm(dim=-1, keepdim=True) + SILENT)
        values = fade * values + asked.to(values)[:, :, None] * told[:, t, None]
        found.append(made.strength * torch.einsum("bm,bmd->bd", unit, values))
        asked = unit
    return torch.stack(found, dim=1), Taught(values, asked)


@pytest.mark.parametrize("cut", [None, 1, 13, BLOCK, LENGTH - 1])
def test_every_way_of_reading_follows_the_equation(cut: int | None) -> None:
    made, (answers, told) = lively(), read()
    expected, after = by_hand(made, answers, told)
    state = made.start(2)
    parts = []
    for piece in [slice(0, LENGTH)] if cut is None else [slice(0, cut), slice(cut, LENGTH)]:
        found, state = made(answers[:, piece], told[:, piece], state)
        parts.append(found)
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(state.values, after.values, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(state.asked, after.asked, rtol=1e-11, atol=1e-11)


def test_gradients_are_those_of_the_recurrence() -> None:
    def gradients(way: object) -> list[Tensor]:
        made, (answers, told) = lively(), read()
        given = [answers.requires_grad_(), told.requires_grad_()]
        found = made(*given, made.start(2))[0] if way is None else by_hand(made, *given)[0]
        (found * drawn(3, *found.shape)).sum().backward()
        return [tensor.grad for tensor in (*given, made.strength, made.log_span)]

    for found, expected in zip(gradients(None), gradients("by hand"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_what_has_stood_before_is_expected_again() -> None:
    """Each position answers with a pattern of its own: what is recalled is what followed it."""
    made = FastValues(4, 4).double()
    answers = torch.eye(4, dtype=torch.float64)[None, [0, 1, 2, 0]]
    told = torch.eye(4, dtype=torch.float64)[None, [3, 2, 1, 0]]
    found, _ = made(answers, told, made.start(1))
    assert found[0, :3].abs().max() == 0
    assert found[0, 3].argmax() == 2
    assert found[0, 3, 2].item() == pytest.approx(0.1, rel=0.02)


def taught(steps: int = 2) -> TaughtRecall:
    memory = RecallMemory(WIDTH, PATTERNS, steps, generator(4)).double()
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator(5))
    made = lively()
    before = Taught(drawn(6, 2, PATTERNS, WIDTH), drawn(7, 2, PATTERNS).abs())
    return TaughtRecall(memory, made, drawn(2, 2, 30, WIDTH), before, steps - 1)


@pytest.mark.parametrize("step", [0, 1, 5])
def test_the_force_is_the_gradient_and_its_bowl_has_one_bottom(step: int) -> None:
    well = taught().at(step)
    proposal, state = drawn(8, 2, 30, WIDTH), drawn(9, 2, 30, WIDTH).requires_grad_()
    (gradient,) = torch.autograd.grad(well.energy(state, proposal).sum(), state)
    torch.testing.assert_close(well.force(state.detach(), proposal), -gradient)
    bottom = proposal + well.force(proposal, proposal)
    assert well.force(bottom, proposal).abs().max() < 1e-12
    for share in (0.5, 1.0, 1.9):
        height = well.energy(torch.lerp(proposal, bottom, share), proposal)
        assert (height <= well.energy(proposal, proposal)).all()


def test_a_text_teaches_the_last_step_alone() -> None:
    memory = taught()
    proposal = drawn(8, 2, 30, WIDTH)
    plain = memory.memory
    assert torch.equal(
        memory.at(0).force(proposal, proposal), plain.at(0).force(proposal, proposal)
    )
    learned = memory.at(1).force(proposal, proposal) - plain.at(1).force(proposal, proposal)
    expected, after = memory.fast(plain.answers(proposal), memory.told, memory.before)
    torch.testing.assert_close(learned, expected)
    torch.testing.assert_close(memory.after.values, after.values)


def test_what_was_recalled_without_a_gradient_is_recalled_again_for_one() -> None:
    memory = taught()
    proposal = drawn(8, 2, 30, WIDTH)
    with torch.no_grad():
        height = memory.energy(proposal + 1, proposal)
    traced = memory.energy(proposal + 1, proposal)
    assert torch.equal(height, traced)
    traced.sum().backward()
    assert memory.fast.strength.grad is not None
    assert memory.fast.strength.grad.abs() > 0
    other = drawn(9, 2, 30, WIDTH)
    assert torch.equal(memory.force(other, other), taught().force(other, other))
