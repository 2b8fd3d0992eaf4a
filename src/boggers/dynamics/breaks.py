"""Breaks: kicks for rows or positions that are stuck (too calm for too long) or too tense."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from boggers.errors import UserError
from boggers.field.tension import TensionWeights, step_tension, tension
from boggers.field.waves import normalise_waves
from boggers.shapes import PerPosition, PerRow, PositionMask, RowMask, State, Stream

STILL = 1e-6
"""Below this length a position has not moved, and its direction means nothing."""


@dataclass(frozen=True)
class BreakRule:
    """When a row breaks and how far it is thrown.

        α_b = strength · clip((T* - T_b) / T*, scale range)        directional: S ← S + α δ/‖δ‖

    δ is the position's last move. Every row decides from its own tension T_b.

    Attributes:
        kind: along the last move, or Gaussian noise of fixed size.
        tense: a row above it breaks at every step.
        calm: a row below it for `patience` steps on end breaks once.
        strength, scale_min, scale_max, target: the step size above; target is T*.
        reject: undo a break after which the row is tenser and worse aligned than before.
    """

    kind: Literal["directional", "gaussian"] = "directional"
    tense: float = 0.18
    calm: float = 0.08
    patience: int = 4
    strength: float = 0.1
    scale_min: float = 0.1
    scale_max: float = 2.0
    target: float = 0.12
    reject: bool = False
    noise_when_calm: float = 0.015
    noise_when_tense: float = 0.01

    def __post_init__(self) -> None:
        if self.calm >= self.tense:
            raise UserError(
                "A row must be calm below a lower tension than it is tense above; calm "
                f"{self.calm} and tense {self.tense} came. Lower the first or raise the second."
            )

    def size(self, strain: Tensor) -> Tensor:
        """α for each row or position of these tensions."""
        ratio = (self.target - strain) / (self.target + 1e-8)
        return self.strength * ratio.clamp(self.scale_min, self.scale_max)


@dataclass(frozen=True)
class Calm:
    """How many steps on end each row has been calm, and how often it broke, both (B,)."""

    streak: Int64[Tensor, " B"]
    broken: Int64[Tensor, " B"]

    @classmethod
    def start(cls, state: State) -> "Calm":
        zeros = torch.zeros(state.shape[0], dtype=torch.int64, device=state.device)
        return cls(streak=zeros, broken=zeros)


@dataclass(frozen=True)
class Surroundings:
    """What a break needs to know of the relaxation it happens in."""

    num_waves: int
    normalise: bool
    weights: TensionWeights


def break_rows(
    rule: BreakRule,
    state: State,
    before: State,
    row_tension: PerRow,
    calm: Calm,
    around: Surroundings,
    generator: torch.Generator | None,
) -> tuple[State, Calm]:
    """Break the rows that the rule names, and count.

    Args:
        state: (B, W, D) after the step; before: the same rows before it.
        row_tension: (B,) tension of `state`; a row is tense, or stuck, or neither.
        calm: counters of the steps so far.
        generator: source of the noise. One draw of (W, D) serves all rows, so that a row's noise
            does not depend on its companions.

    Raises:
        UserError: Gaussian breaks without a generator.
    """
    is_calm = row_tension < rule.calm
    streak = torch.where(is_calm, calm.streak + 1, 0)
    stuck = is_calm & (streak >= rule.patience)
    tense = row_tension > rule.tense
    if rule.kind == "directional":
        kick = rule.size(row_tension)[:, None, None] * _directions(state - before, generator)
    else:
        size = torch.where(tense, rule.noise_when_tense, rule.noise_when_calm)
        kick = size[:, None, None] * _noise(state, generator)
    thrown = state + kick
    if around.normalise:
        thrown = normalise_waves(thrown, around.num_waves)
    else:
        unit = thrown / (thrown.norm(dim=-1, keepdim=True) + 1e-8)
        thrown = torch.where(tense[:, None, None], unit, thrown)
    rows = stuck | tense
    if rule.reject:
        rows = rows & ~_is_worse(thrown, state, around.weights)
    streak = torch.where(stuck & rows, 0, streak)
    return torch.where(rows[:, None, None], thrown, state), Calm(streak, calm.broken + rows.long())


def _directions(move: State, generator: torch.Generator | None) -> State:
    """Unit vectors along each position's move; a random one where there was no move.

    Without a generator a position that did not move gets no direction and stays.
    """
    moved = move.detach().norm(dim=-1, keepdim=True) >= STILL
    along = normalise_waves(move, num_waves=1)
    if generator is None:
        return torch.where(moved, along, 0.0)
    return torch.where(moved, along, F.normalize(_noise(move, generator), dim=-1))


def _noise(like: State, generator: torch.Generator | None) -> Float[Tensor, "1 W D"]:
    if generator is None:
        raise UserError(
            "Gaussian breaks need a random generator, none came. "
            "Pass generator=torch.Generator().manual_seed(…)."
        )
    shape = (1, *like.shape[1:])
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def _is_worse(thrown: State, state: State, weights: TensionWeights) -> RowMask:
    """Tenser and worse aligned than before, both measured on states of equal length."""
    after, before = tension(thrown, weights), tension(state, weights)
    return (after.total > before.total) & (after.alignment > before.alignment)


def break_positions(
    rule: BreakRule,
    state: Stream,
    before: Stream,
    calm: Int64[Tensor, "B T"],
    generator: torch.Generator | None,
    energy: Callable[[Stream], PerPosition],
    allowed: PositionMask | None = None,
) -> tuple[Stream, Int64[Tensor, "B T"], PositionMask]:
    """Break the positions of a stream that the rule names, each from its own last step alone.

    A position's tension is that of its last step (see `field.tension.step_tension`), so it reads no
    other position. A kick has a size relative to the state's length, and the state
    keeps its length under it.

    Args:
        rule: see `BreakRule`; with `reject` a break is undone that raised the position's energy.
        state: (B, T, D) after the step; before: the same positions before it.
        calm: steps on end that each position has been calm.
        generator: source of the noise. One draw of (D,) serves all positions, so that the noise
            of a position depends neither on its companions nor on where a text was cut.
        energy: of every position, for `reject`.
        allowed: positions that may break at all; None = all.

    Returns:
        The states, the new counters of calm, and which positions broke.

    Raises:
        UserError: Gaussian breaks without a generator.
    """
    with torch.no_grad():
        strain = step_tension(before, state)
    is_calm = strain < rule.calm
    streak = torch.where(is_calm, calm + 1, 0)
    stuck = is_calm & (streak >= rule.patience)
    tense = strain > rule.tense
    rows = stuck | tense if allowed is None else (stuck | tense) & allowed
    if rule.kind == "directional":
        towards = _directions((state - before)[..., None, :].flatten(0, 1), generator)
        kick = rule.size(strain)[..., None] * towards.view(state.shape)
    else:
        size = torch.where(tense, rule.noise_when_tense, rule.noise_when_calm)
        kick = size[..., None] * _noise(state[:1, :1], generator)
    length = state.norm(dim=-1, keepdim=True)
    thrown = F.normalize(state + length * kick, dim=-1) * length
    if rule.reject:
        rows = rows & (energy(thrown) <= energy(state)).detach()
    streak = torch.where(stuck & rows, 0, streak)
    return torch.where(rows[..., None], thrown, state), streak, rows
