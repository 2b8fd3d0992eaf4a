"""The settling of a stream: every position rolls downhill by itself, all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from boggers.dynamics.breaks import BreakRule, break_positions
from boggers.field.memory import Memory
from boggers.field.metric import Metric
from boggers.shapes import PerPosition, PositionMask, Stream

HALVINGS = 8
"""How often a guarded step is halved before it is given up."""

TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Slope:
    """What moves the positions of a stream, held fixed for one settling; `None` means absent.

    Attributes:
        terms: of the landscape; the force is minus the gradient of their sum.
        metric: how a force becomes a step.
        guarded: halve a position's step until its energy does not rise, at most 8 times; then the
            position stays where it is for that step.
        tolerance: a position rests once a step moves it by less than this share of its length.
        breaks: kicks for positions that are stuck or tense.
    """

    terms: Sequence[Memory]
    metric: Metric
    guarded: bool = False
    tolerance: float | None = None
    breaks: BreakRule | None = None

    def energy(self, state: Stream) -> PerPosition:
        """E, the sum of the terms at every position."""
        first, *others = (term.energy(state) for term in self.terms)
        return sum(others, first)

    def force(self, state: Stream) -> Stream:
        """-∇E at every position."""
        first, *others = (term.force(state) for term in self.terms)
        return sum(others, first)


@dataclass(frozen=True)
class Settling:
    """Settled positions and how they came to rest.

    Attributes:
        state: (B, T, D), where each position rests; carries gradient.
        residual: (B, T), the last step as a share of the state's length, ‖Δ‖/‖s‖; 0 without steps.
        steps: (B, T), steps taken before the position came to rest.
        breaks: (B, T), breaks that were carried out.
        energy: (K + 1, B, T), at the start and after every step; None if it was not asked for.
        path: the states at the start and after every step; None if it was not asked for.
    """

    state: Stream
    residual: PerPosition
    steps: Int64[Tensor, "B T"]
    breaks: Int64[Tensor, "B T"]
    energy: Float[Tensor, "K B T"] | None = None
    path: tuple[Stream, ...] | None = None


def settle(
    start: Stream,
    slope: Slope,
    *,
    steps: int,
    generator: torch.Generator | None = None,
    gradient_steps: int | None = None,
    keep_energy: bool = True,
    keep_path: bool = False,
) -> Settling:
    """Let every position descend on its own:  s ← s + Δ_k(-∇E(s)),  k = 0 … K - 1.

    A position that has come to rest stays exactly where it is while others go on. Nothing in the
    loop waits for the device.

    Args:
        start: (B, T, D), states that have felt their past.
        slope: what moves them.
        steps: K ≥ 0, the most steps that a position takes.
        generator: noise for breaks.
        gradient_steps: how many of the last steps carry gradient; None = all. The start always
            does: what is cut is how the moves of earlier steps depend on it.
        keep_energy: measure the energy at the start and after every step.
        keep_path: return the states at the start and after every step.
    """
    state = start
    zeros = torch.zeros(start.shape[:2], dtype=torch.int64, device=start.device)
    taken, broken, calm = zeros, zeros, zeros
    residual = start.detach().new_zeros(start.shape[:2])
    active: PositionMask | None = None
    if slope.tolerance is not None:
        active = torch.ones_like(zeros, dtype=torch.bool)
    energies = [_measured(slope, start)] if keep_energy else []
    path = [start]
    free = 0 if gradient_steps is None else max(0, steps - gradient_steps)
    for k in range(steps):
        move = _move(state, slope, k, carries_gradient=k >= free)
        if active is not None:
            move = torch.where(active[..., None], move, 0.0)
        before, state = state, state + move
        if slope.breaks is not None:
            state, calm, happened = break_positions(
                slope.breaks, state, before, calm, generator, slope.energy, active
            )
            broken = broken + happened
        taken = taken + 1 if active is None else taken + active
        if active is not None or k == steps - 1:
            moved = _share_moved(before, state)
            residual = moved if active is None else torch.where(active, moved, residual)
        if active is not None and slope.tolerance is not None:
            active = active & (moved >= slope.tolerance)
        if keep_energy:
            energies.append(_measured(slope, state))
        path.append(state)
    return Settling(
        state=state,
        residual=residual,
        steps=taken,
        breaks=broken,
        energy=torch.stack(energies) if keep_energy else None,
        path=tuple(path) if keep_path else None,
    )


def _move(state: Stream, slope: Slope, step: int, *, carries_gradient: bool) -> Stream:
    """Δ of one step at every position."""
    with torch.set_grad_enabled(torch.is_grad_enabled() and carries_gradient):
        move = slope.metric(slope.force(state), step)
        return _downhill(state, move, slope) if slope.guarded else move


def _downhill(state: Stream, move: Stream, slope: Slope) -> Stream:
    """The moves, each halved until its position's energy does not rise, or nothing."""
    with torch.no_grad():
        height = slope.energy(state)
        share = torch.ones_like(height)
        for _ in range(HALVINGS):
            rises = slope.energy(state + share[..., None] * move) > height
            share = torch.where(rises, share / 2, share)
        rises = slope.energy(state + share[..., None] * move) > height
        share = torch.where(rises, 0.0, share)
    return share[..., None] * move


def _measured(slope: Slope, state: Stream) -> PerPosition:
    with torch.no_grad():
        return slope.energy(state)


def _share_moved(before: Stream, after: Stream) -> PerPosition:
    """‖Δ‖ / ‖s‖."""
    with torch.no_grad():
        distance = torch.linalg.vector_norm(after - before, dim=-1)
        share: Tensor = distance / torch.linalg.vector_norm(after, dim=-1).clamp_min(TINY)
        return share
