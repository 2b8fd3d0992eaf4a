"""The relaxation: one loop that lets a state roll downhill until it rests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from boggers.dynamics.breaks import BreakRule, Calm, Surroundings, break_rows
from boggers.dynamics.pace import EnergyPace, TensionPace
from boggers.dynamics.record import Kick, Relaxation
from boggers.dynamics.rest import FreezeRule, RestRule
from boggers.field.anchors import Anchors
from boggers.field.base import AbstractEnergy
from boggers.field.coupling import mix_positions
from boggers.field.tension import TensionWeights, tension
from boggers.field.waves import clamp_waves, normalise_waves, split_waves
from boggers.shapes import Logits, PerRow, State


@dataclass(frozen=True, kw_only=True)
class System:
    """Everything that moves a window, held fixed for one relaxation; `None` means absent.

    Attributes:
        energies: terms of the landscape; the force is minus the gradient of their sum.
        energy_step: h of the descent S ← S - h ∇E, > 0.
        num_waves, normalise: cut of the state; whether each wave returns to its unit sphere.
        coupling: (W, W), or (N, W, W) for one per wave; one coupling step is S ← S + coupling·S.
        interaction: (W, W), the same after the descent.
        drift: one step of a motion that has no energy, S ← drift(S), before the descent.
        anchors, anchor_pull: S ← S - pull (S - nearest anchor), before the descent.
        push: (B, W, 1), S ← S + push before the descent, the same for every coordinate.
        nudge: S ← S + nudge (target - S) at the start of each step, when a target is given.
        tension_weights: weights of the tension that paces and breaks read.
        read: window readout, given when tension is to contain the readout's entropy.
        coupling_pace, energy_pace, breaks, rest, freeze: see their classes.
    """

    energies: Sequence[AbstractEnergy]
    energy_step: float
    num_waves: int
    normalise: bool = True
    coupling: Tensor | None = None
    interaction: Tensor | None = None
    drift: Callable[[State], State] | None = None
    anchors: Anchors | None = None
    anchor_pull: float | None = None
    push: Tensor | None = None
    nudge: float | None = None
    tension_weights: TensionWeights = field(default_factory=TensionWeights)
    read: Callable[[State], Logits] | None = None
    coupling_pace: TensionPace | None = None
    energy_pace: EnergyPace | None = None
    breaks: BreakRule | None = None
    rest: RestRule | None = None
    freeze: FreezeRule | None = None

    def energy(self, state: State) -> PerRow:
        """E_b, the sum of the terms, (B,)."""
        return sum((term.energy(state) for term in self.energies), state.new_zeros(len(state)))

    def tension(self, state: State) -> PerRow:
        """T_b, (B,)."""
        logits = None if self.read is None else self.read(state)
        return tension(state, self.tension_weights, logits).total


@dataclass(frozen=True)
class Motion:
    """What one step hands to the next, per row or per wave; `None` where the rule is absent."""

    calm: Calm
    coupling_scale: PerRow | None = None
    descent_step: PerRow | None = None
    frozen: Tensor | None = None
    frozen_age: Tensor | None = None


def relax(
    state: State,
    system: System,
    *,
    steps: int,
    target: State | None = None,
    generator: torch.Generator | None = None,
    gradient_steps: int | None = None,
    keep_path: bool = False,
    keep_curves: bool = True,
    keep_kicks: bool = False,
) -> Relaxation:
    """Let every row settle on its own.

    One step: nudge, coupling, anchor pull, drift, push, descent, interaction, renormalisation,
    breaks. A
    row that has come to rest stays exactly where it is while its companions go on; nothing in the
    loop waits for the device.

    Args:
        state: (B, W, D), W ≥ 2.
        system: what moves it.
        steps: K ≥ 0, the most steps that a row takes.
        target: (B, W, D) for the nudge.
        generator: noise for breaks.
        gradient_steps: how many of the last steps carry gradient; None = all of them, and the
            start as well.
        keep_path: return the state after every step.
        keep_kicks: return the breaks of every step.
        keep_curves: record tension and energy at every step instead of the last one only.
    """
    motion = _start(state, system)
    active = torch.ones(len(state), dtype=torch.bool, device=state.device)
    taken = torch.zeros(len(state), dtype=torch.int64, device=state.device)
    residual = state.new_zeros(len(state))
    previous: PerRow | None = None
    tensions: list[Tensor] = []
    energies: list[Tensor] = []
    path: list[State] = []
    kicks: list[Kick] = []
    detached_steps = 0 if gradient_steps is None else max(0, steps - gradient_steps)
    for k in range(steps):
        last = k == steps - 1
        with torch.set_grad_enabled(torch.is_grad_enabled() and k >= detached_steps):
            before = state
            moved, row_tension, motion, unbroken = _step(
                state, system, motion, target, generator, measure=keep_curves or last
            )
            if keep_kicks:
                kicks.append(Kick(before.detach(), unbroken.detach(), moved.detach()))
            if system.rest is None:
                state = moved
                taken = taken + 1
            else:
                state = torch.where(active[:, None, None], moved, before)
                taken = taken + active
        if keep_curves or last or system.rest is not None:
            with torch.no_grad():
                energy = system.energy(state)
                residual = (state - before).flatten(1).norm(dim=1) if last else residual
            if system.rest is not None:
                active = active & ~system.rest.settled(k + 1, previous, energy)
                previous = energy
            if row_tension is not None and (keep_curves or last):
                tensions.append(row_tension.detach())
                energies.append(energy)
        if keep_path:
            path.append(state)
    nothing = state.detach().new_zeros(0, len(state))
    return Relaxation(
        state=state,
        tension=torch.stack(tensions) if tensions else nothing,
        energy=torch.stack(energies) if energies else nothing,
        steps=taken,
        breaks=motion.calm.broken,
        residual=residual,
        path=tuple(path) if keep_path else None,
        kicks=tuple(kicks) if keep_kicks else None,
        coupling_scale=motion.coupling_scale,
        frozen=motion.frozen,
    )


def _start(state: State, system: System) -> Motion:
    rows = state.new_ones(len(state))
    waves = (*state.shape[:2], system.num_waves)
    return Motion(
        calm=Calm.start(state),
        coupling_scale=None if system.coupling_pace is None else rows,
        descent_step=None if system.energy_pace is None else rows * system.energy_step,
        frozen=None if system.freeze is None else state.new_zeros(waves, dtype=torch.bool),
        frozen_age=None if system.freeze is None else state.new_zeros(waves, dtype=torch.int64),
    )


def _step(
    state: State,
    system: System,
    motion: Motion,
    target: State | None,
    generator: torch.Generator | None,
    *,
    measure: bool,
) -> tuple[State, PerRow | None, Motion, State]:
    """One step of every row: the new state, its tension before breaks, what the next step needs,
    and the state before breaks."""
    before = state
    if system.nudge is not None and target is not None:
        state = state + system.nudge * (target.detach() - state)
    if system.coupling is not None:
        pulled = mix_positions(system.coupling, state)
        scale = motion.coupling_scale
        state = state + (pulled if scale is None else scale[:, None, None] * pulled)
    if system.anchors is not None and system.anchor_pull is not None:
        state = state - system.anchor_pull * (state - system.anchors.nearest(state))
    if system.drift is not None:
        state = system.drift(state)
    if system.push is not None:
        state = state + system.push
    state, motion = _descend(state, system, motion)
    if system.interaction is not None:
        state = state + mix_positions(system.interaction, state)
    if system.normalise:
        state = normalise_waves(state, system.num_waves)
    if system.freeze is not None and system.anchors is not None and motion.frozen_age is not None:
        distance = system.anchors.wave_distance(state, system.num_waves)
        frozen, age = system.freeze.next(distance, motion.frozen_age)
        motion = replace(motion, frozen=frozen, frozen_age=age)
    if not measure and system.breaks is None and system.coupling_pace is None:
        return state, None, motion, state
    with torch.no_grad():
        row_tension = system.tension(state)
    if system.coupling_pace is not None and motion.coupling_scale is not None:
        scale = system.coupling_pace.next(motion.coupling_scale, row_tension)
        motion = replace(motion, coupling_scale=scale)
    unbroken = state
    if system.breaks is not None:
        around = Surroundings(system.num_waves, system.normalise, system.tension_weights)
        state, calm = break_rows(
            system.breaks, state, before, row_tension, motion.calm, around, generator
        )
        motion = replace(motion, calm=calm)
    return state, row_tension, motion, unbroken


def _descend(state: State, system: System, motion: Motion) -> tuple[State, Motion]:
    """S ← S - h ∇E, every wave's length held in range; h is the row's own under an energy pace."""
    if not system.energies:
        return state, motion
    force = system.energies[0].force(state)
    for term in system.energies[1:]:
        force = term.onto(force, state)
    if motion.frozen is not None:
        free = ~motion.frozen[..., None]
        force = (split_waves(force, system.num_waves) * free).flatten(-2)
    if system.energy_pace is None or motion.descent_step is None:
        moved = torch.add(state, force, alpha=system.energy_step)
        return moved if system.normalise else clamp_waves(moved, system.num_waves), motion
    step = motion.descent_step
    moved = clamp_waves(state + step[:, None, None] * force, system.num_waves)
    with torch.no_grad():
        rise = system.energy(state), system.energy(moved)
    next_step = system.energy_pace.next(step, system.energy_step, *rise)
    return moved, replace(motion, descent_step=next_step)
