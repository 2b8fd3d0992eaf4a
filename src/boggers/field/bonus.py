"""How recently used tokens hold on to what they mean while they settle."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from boggers.field.base import AbstractEnergy
from boggers.field.memory import Memory
from boggers.shapes import PerPosition, PerRow, State, Stream

BonusForm = Literal["hold", "additive"]


class TokenBonus(nn.Module):
    """One number per token of the vocabulary, β_v ≥ 0, kept with the weights and not learned.

    Whoever remembers tokens writes it between two steps; while it is all zero nothing is moved.

    Args:
        vocab_size: V.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.strength: Tensor
        self.register_buffer("strength", torch.zeros(vocab_size))

    @torch.no_grad()
    def write(self, strength: Tensor) -> None:
        """Set β, (V,)."""
        self.strength.copy_(strength)

    def of(self, tokens: Tensor) -> Tensor:
        """β of each token, in the shape of the tokens."""
        return self.strength[tokens]


class HoldEnergy(AbstractEnergy):
    """A pull of every position towards its own token, as long as the original's bonus.

    E_b = -√D Σ_t β_t ⟨s_t, e_t⟩          -∇_t E = √D β_t e_t          ‖e_t‖ = 1

    The original adds β_t to all D coordinates, a vector of length √D β_t in the same direction for
    every token, so that settled states all come to point that way. Here the direction is the
    token's own.

    Args:
        unit: e, (B, W, D), the tokens as they are embedded, before anything of them is dropped.
        strength: β, (B, W).
    """

    def __init__(self, unit: State, strength: Tensor) -> None:
        super().__init__()
        self.pull = (math.sqrt(unit.shape[-1]) * strength)[..., None] * unit

    def energy(self, state: State) -> PerRow:
        return -(self.pull * state).sum(dim=(1, 2))

    def force(self, state: State) -> State:
        return self.pull


class HoldWell(Memory):
    """The same for the positions of a stream, whose states have length √D from the start.

    E_t = -β_t ⟨s_t, e_t⟩          -∇_t E = β_t e_t          ‖e_t‖ = √D

    Args:
        start: (B, T, D); its directions are e.
        strength: β, (B, T).
    """

    def __init__(self, start: Stream, strength: Tensor) -> None:
        super().__init__()
        self.pull = strength[..., None] * nn.functional.rms_norm(start, start.shape[-1:])

    def energy(self, state: Stream, proposal: Stream) -> PerPosition:
        return -(self.pull * state).sum(dim=-1)

    def force(self, state: Stream, proposal: Stream) -> Stream:
        return self.pull
