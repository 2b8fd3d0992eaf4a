"""The settling of a stream: every position feels its past and rolls downhill, again and again."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from boggers.dynamics.breaks import BreakRule, break_positions
from boggers.field.memory import Memory, Well
from boggers.field.metric import Metric
from boggers.shapes import PerPosition, PositionMask, Stream

HALVINGS = 8
"""How often a guarded step is halved before it is given up."""

TINY = 1e-12

Couple = Callable[[Stream, int], Stream]
"""What the positions (B, T, D) feel of their past at a step, counted from 0; it must be causal."""


@dataclass(frozen=True, kw_only=True)
class Slope:
    """What moves the positions of a stream, held fixed for one settling; `None` means absent.

    Attributes:
        terms: of the landscape; the force is minus the gradient of their sum.
        step: whose landscape it is, counted from 0; None = of the last that has one of its own.
        metric: how a force becomes a step.
        guarded: halve a position's step until its energy does not rise, at most 8 times; then the
            position stays where it is for that step.
        tolerance: a position rests once a step moves it by less than this share of its length.
        breaks: kicks for positions that are stuck or tense.
    """

    terms: Sequence[Memory]
    step: int | None = None
    metric: Metric
    guarded: bool = False
    tolerance: float | None = None
    breaks: BreakRule | None = None

    def energy(self, state: Stream, proposal: Stream) -> PerPosition:
        """E, the sum of the terms at every position."""
        first, *others = (well.energy(state, proposal) for well in self._wells())
        return sum(others, first)

    def force(self, state: Stream, proposal: Stream) -> Stream:
        """-∇E at every position."""
        first, *others = (well.force(state, proposal) for well in self._wells())
        return sum(others, first)

    def at(self, step: int) -> "Slope":
        """The landscape of a step."""
        return replace(self, step=step)

    def _wells(self) -> Sequence[Well]:
        return self.terms if self.step is None else [term.at(self.step) for term in self.terms]


@dataclass(frozen=True)
class Settling:
    """Settled positions and how they came to rest.

    Attributes:
        state: (B, T, D), where each position rests; carries gradient.
        proposal: (B, T, D), where the positions stood when they had last felt their past; carries
            gradient.
        residual: (B, T), the last step as a share of the state's length, ‖Δ‖/‖s‖; 0 without steps.
        steps: (B, T), steps taken before the position came to rest.
        breaks: (B, T), breaks that were carried out.
        slope: what moved them last.
        energy: (K, B, T), after the descent of every step; None if it was not asked for.
        fall: (K, B, T), by how much that descent lowered it; None if it was not asked for.
        path: the states at the start and after every step; None if it was not asked for.
    """

    state: Stream
    proposal: Stream
    residual: PerPosition
    steps: Int64[Tensor, "B T"]
    breaks: Int64[Tensor, "B T"]
    slope: Slope
    energy: Float[Tensor, "K B T"] | None = None
    fall: Float[Tensor, "K B T"] | None = None
    path: tuple[Stream, ...] | None = None


@dataclass
class _Curves:
    """Energies as they are measured; nothing is measured unless it was asked for."""

    wanted: bool
    energies: list[Tensor] = field(default_factory=list)
    falls: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def add(self, slope: Slope, proposal: Stream, begin: Stream, settled: Stream) -> None:
        if self.wanted:
            after = slope.energy(settled, proposal)
            self.energies.append(after)
            self.falls.append(slope.energy(begin, proposal) - after)

    def stacked(self, values: list[Tensor], like: Stream) -> Tensor | None:
        if not self.wanted:
            return None
        return torch.stack(values) if values else like.new_zeros(0, *like.shape[:2])


def settle(
    start: Stream,
    slope: Slope,
    couple: Couple,
    *,
    steps: int,
    generator: torch.Generator | None = None,
    gradient_steps: int | None = None,
    keep_energy: bool = True,
    keep_path: bool = False,
) -> Settling:
    """Let every position settle on its own, given what it feels of its past.

        p = s + c_k(s)          s ← p + Δ_k(-∇E(p; p))          k = 0 … K - 1
                                s ← s + Δ_k(-∇E(s; p))          k = K, K + 1, …

    K steps have been learned; those beyond them feel nothing new and go on downhill in the
    landscape of the last, nearer to where it rests. A position that has come to rest stays exactly
    where it is while others go on. Nothing in the
    loop waits for the device.

    Args:
        start: (B, T, D).
        slope: what moves them downhill.
        couple: c_k, what they feel of their past.
        steps: the most steps that a position takes; 0 or more, K or not.
        generator: noise for breaks.
        gradient_steps: how many of the last steps carry gradient; None = all. The start always
            does: what is cut is how the moves of earlier steps depend on it.
        keep_energy: measure the energy around the descent of every step.
        keep_path: return the states at the start and after every step.
    """
    state = proposal = start
    zeros = torch.zeros(start.shape[:2], dtype=torch.int64, device=start.device)
    taken, broken, calm = zeros, zeros, zeros
    residual = start.detach().new_zeros(start.shape[:2])
    active: PositionMask | None = None
    if slope.tolerance is not None:
        active = torch.ones_like(zeros, dtype=torch.bool)
    curves, path = _Curves(keep_energy), [start]
    free = 0 if gradient_steps is None else max(0, steps - gradient_steps)
    for k in range(steps):
        before, here = state, slope.at(k)
        with torch.set_grad_enabled(torch.is_grad_enabled() and k >= free):
            begin = before
            if k < slope.metric.learned:
                begin = proposal = before + couple(before, k)
            settled = descend(begin, proposal, here, k)
        curves.add(here, proposal, begin, settled)
        # What earlier steps add is a constant to the gradient, the state itself is not.
        state = settled if k >= free else before + (settled - before).detach()
        if active is not None:
            state = torch.where(active[..., None], state, before)
        if slope.breaks is not None:
            energy = functools.partial(here.energy, proposal=proposal)
            state, calm, happened = break_positions(
                slope.breaks, state, before, calm, generator, energy, active
            )
            broken = broken + happened
        taken = taken + 1 if active is None else taken + active
        if active is not None or k == steps - 1:
            moved = _share_moved(before, state)
            residual = moved if active is None else torch.where(active, moved, residual)
        if active is not None and slope.tolerance is not None:
            active = active & (moved >= slope.tolerance)
        path.append(state)
    return Settling(
        state=state,
        proposal=proposal,
        residual=residual,
        steps=taken,
        breaks=broken,
        slope=slope.at(max(0, steps - 1)),
        energy=curves.stacked(curves.energies, start),
        fall=curves.stacked(curves.falls, start),
        path=tuple(path) if keep_path else None,
    )


def descend(state: Stream, proposal: Stream, slope: Slope, step: int) -> Stream:
    """One step downhill in the landscape of the proposal, counted from 0."""
    move: Stream = slope.metric(slope.force(state, proposal), step)
    if slope.guarded:
        move = _downhill(state, proposal, move, slope)
    return state + move


def _downhill(state: Stream, proposal: Stream, move: Stream, slope: Slope) -> Stream:
    """The moves, each halved until its position's energy does not rise, or nothing."""
    with torch.no_grad():
        height = slope.energy(state, proposal)
        share = torch.ones_like(height)
        for _ in range(HALVINGS):
            rises = slope.energy(state + share[..., None] * move, proposal) > height
            share = torch.where(rises, share / 2, share)
        rises = slope.energy(state + share[..., None] * move, proposal) > height
        share = torch.where(rises, 0.0, share)
    return share[..., None] * move


def _share_moved(before: Stream, after: Stream) -> PerPosition:
    """‖Δ‖ / ‖s‖."""
    with torch.no_grad():
        distance = torch.linalg.vector_norm(after - before, dim=-1)
        share: Tensor = distance / torch.linalg.vector_norm(after, dim=-1).clamp_min(TINY)
        return share
