"""Tension: how far apart and how badly aligned neighbouring positions of a window are."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from boggers.field.base import AbstractEnergy
from boggers.shapes import Logits, PerPosition, PerRow, State, Stream

COSINE_FLOOR = 1e-8


@dataclass(frozen=True)
class TensionWeights:
    """How much each part counts; all dimensionless and ≥ 0."""

    energy: float = 1.0
    alignment: float = 0.35
    entropy: float = 0.08


@dataclass(frozen=True)
class Tension:
    """The tension of each row and its parts, each (B,)."""

    total: PerRow
    energy: PerRow
    alignment: PerRow
    entropy: PerRow


def tension(
    state: State, weights: TensionWeights = TensionWeights(), logits: Logits | None = None
) -> Tension:
    """The weighted strain between neighbours, per row; zero when all positions are equal.

        T_E = mean_{t,d} (s_{t+1} - s_t)²          T_A = mean_t (1 - cos(s_{t+1}, s_t))
        T_H = entropy of softmax(logits), nats; 0 when no logits are given (geometric regime)
        T   = w_E T_E + w_A T_A + w_H T_H

    Args:
        state: (B, W, D) with W ≥ 2.
        weights: the three weights.
        logits: (B, V); given, the entropy regime is used.
    """
    left, right = state[:, :-1], state[:, 1:]
    stretch = (right - left).square().mean(dim=(1, 2))
    misalignment = (1 - F.cosine_similarity(right, left, dim=-1, eps=COSINE_FLOOR)).mean(dim=1)
    doubt = torch.zeros_like(stretch) if logits is None else _entropy(logits)
    total = weights.energy * stretch + weights.alignment * misalignment + weights.entropy * doubt
    return Tension(total=total, energy=stretch, alignment=misalignment, entropy=doubt)


def step_tension(before: Stream, after: Stream) -> PerPosition:
    """The tension of each position of a stream: that of the window of its two latest states.

    It reads no other position: large where the last step went far or turned the state.
    """
    pair = torch.stack([before, after], dim=2).flatten(0, 1)
    return tension(pair).total.view(before.shape[:2])


def _entropy(logits: Logits) -> PerRow:
    probabilities = logits.softmax(dim=-1)
    return -(probabilities * (probabilities + 1e-9).log()).sum(dim=-1)


class TensionEnergy(AbstractEnergy):
    """Tension as a term of the energy, λ·T_b(S): descent draws neighbours together.

    With δ_t = s_{t+1} - s_t, ŝ = s/‖s‖ and c_t = cos(s_t, s_{t+1}):

        ∂T/∂s_t = 2 w_E / ((W-1) D) (δ_{t-1} - δ_t)
                  - w_A / ((W-1) ‖s_t‖) [ (ŝ_{t-1} - c_{t-1} ŝ_t) + (ŝ_{t+1} - c_t ŝ_t) ]

    Terms that would reach outside the window are absent.
    """

    def __init__(self, strength: float, weights: TensionWeights) -> None:
        super().__init__()
        self.strength = strength
        self.weights = weights

    def energy(self, state: State) -> PerRow:
        return self.strength * tension(state, self.weights).total

    def force(self, state: State) -> State:
        window, width = state.shape[1:]
        step = state[:, 1:] - state[:, :-1]
        length = state.norm(dim=-1, keepdim=True).clamp_min(COSINE_FLOOR)
        unit = state / length
        cosine = (unit[:, 1:] * unit[:, :-1]).sum(dim=-1, keepdim=True)
        stretch = 2 * self.weights.energy / ((window - 1) * width) * _to_both_ends(step, -step)
        turn = _to_both_ends(
            unit[:, 1:] - cosine * unit[:, :-1], unit[:, :-1] - cosine * unit[:, 1:]
        )
        bend = self.weights.alignment / (window - 1) * turn / length
        pull: State = self.strength * (stretch + bend)
        return pull


def _to_both_ends(on_left: Tensor, on_right: Tensor) -> Tensor:
    """Add what each pair (t, t+1) does to its left and its right: (B, W-1, D) → (B, W, D)."""
    return F.pad(on_left, (0, 0, 0, 1)) + F.pad(on_right, (0, 0, 1, 0))
