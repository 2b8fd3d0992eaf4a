"""Anchors: the embeddings of the tokens that a window currently points to."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from boggers.field.base import AbstractEnergy
from boggers.field.memory import DirectionMemory
from boggers.field.waves import split_waves
from boggers.shapes import Logits, PerPosition, PerRow, State, Stream

DISTANCE_FLOOR = 1e-12


class Anchors:
    """Looks up which token embeddings are near a state.

    A window's K candidates are the tokens its readout ranks highest; the anchor of position t is
    the candidate nearest to s_t. Candidates are constants: no gradient flows through the choice or
    into the table.

    Args:
        table: (V, D) anchor positions.
        read: the window readout, (B, W, D) → (B, V).
        candidates: K, clamped to V.
    """

    def __init__(self, table: Tensor, read: Callable[[State], Logits], candidates: int) -> None:
        self.table = table.detach()
        self.read = read
        self.candidates = min(candidates, table.shape[0])

    def near(self, state: State) -> Tensor:
        """The K candidate positions of every row, (B, K, D)."""
        with torch.no_grad():
            best = self.read(state).topk(self.candidates, dim=-1).indices
            return self.table[best]

    def nearest(self, state: State) -> State:
        """For every position the candidate closest in Euclidean distance, (B, W, D)."""
        candidates = self.near(state)
        with torch.no_grad():
            choice = torch.cdist(state, candidates).argmin(dim=-1)
        return candidates.gather(1, choice[:, :, None].expand(-1, -1, candidates.shape[-1]))

    def wave_distance(self, state: State, num_waves: int) -> Tensor:
        """Distance of every wave to the same wave of its closest candidate, (B, W, N)."""
        with torch.no_grad():
            waves = split_waves(state, num_waves)
            candidates = split_waves(self.near(state), num_waves)
            gaps = waves[:, :, None] - candidates[:, None]
            nearest: Tensor = torch.linalg.vector_norm(gaps, dim=-1).amin(dim=2)
            return nearest


class AnchorEnergy(AbstractEnergy):
    """The mean distance of a row's positions to their anchors, which are held constant.

    E_b = (λ/W) Σ_t ‖s_t - a_t‖          -∇_t E = -(λ/W) (s_t - a_t) / ‖s_t - a_t‖
    """

    def __init__(self, anchors: Anchors, strength: float) -> None:
        super().__init__()
        self.anchors = anchors
        self.strength = strength

    def energy(self, state: State) -> PerRow:
        return self.strength * _distance(state, self.anchors.nearest(state)).mean(dim=(1, 2))

    def force(self, state: State) -> State:
        target = self.anchors.nearest(state)
        return (-self.strength / state.shape[1]) * (state - target) / _distance(state, target)


class AnchorWell(DirectionMemory):
    """The distance of every position of a stream to its own nearest anchor, held constant.

    L = λ ‖n - a‖ / √D          f = -λ (n - a) / (‖n - a‖ √D)

    A position's candidates are the tokens that it itself would predict, so a well reads no other
    position.

    Args:
        anchors: of states (B, 1, D), each a row of its own.
        strength: λ.
    """

    def __init__(self, anchors: Anchors, strength: float) -> None:
        super().__init__()
        self.anchors = anchors
        self.strength = strength

    def landscape(self, unit: Stream) -> PerPosition:
        distance = _distance(unit, self._target(unit)).squeeze(-1)
        return self.strength / math.sqrt(unit.shape[-1]) * distance

    def pull(self, unit: Stream) -> Stream:
        target = self._target(unit)
        towards = (target - unit) / _distance(unit, target)
        return self.strength / math.sqrt(unit.shape[-1]) * towards

    def _target(self, unit: Stream) -> Stream:
        alone = unit.flatten(0, 1)[:, None]
        return self.anchors.nearest(alone).view(unit.shape)


def _distance(state: Tensor, target: Tensor) -> Tensor:
    distance = torch.linalg.vector_norm(state - target, dim=-1, keepdim=True)
    floored: Tensor = distance.clamp_min(DISTANCE_FLOOR)
    return floored
