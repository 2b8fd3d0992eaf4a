"""Learned energies: one small network per wave, and an associative memory of whole positions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boggers.field.base import AbstractEnergy
from boggers.field.waves import split_waves
from boggers.shapes import PerRow, State, Waves


class WaveEnergy(AbstractEnergy):
    """One two-layer network per wave, the same at every position.

        E_b = (1/W) Σ_t Σ_n [ w₂⁽ⁿ⁾ · tanh(W₁⁽ⁿ⁾ s_{b,t}⁽ⁿ⁾ + b₁⁽ⁿ⁾) + b₂⁽ⁿ⁾ ]
        -∇E = -(1/W) W₁ᵀ ( w₂ ⊙ (1 - tanh²) )

    All N waves go through one batched product. Parameters: inner (N, C, C), inner_bias (N, C),
    outer (N, C). The offset b₂ (N) moves no state, so it is a constant, zero unless loaded.
    """

    def __init__(self, num_waves: int, wave_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.num_waves = num_waves
        self.inner = nn.Parameter(torch.empty(num_waves, wave_dim, wave_dim))
        self.inner_bias = nn.Parameter(torch.zeros(num_waves, wave_dim))
        self.outer = nn.Parameter(torch.empty(num_waves, wave_dim))
        self.register_buffer("offset", torch.zeros(num_waves))
        self.offset: Tensor
        # Glorot's uniform bounds for a C→C and a C→1 layer (Glorot & Bengio 2010).
        bound = math.sqrt(6 / (2 * wave_dim))
        nn.init.uniform_(self.inner, -bound, bound, generator=generator)
        bound = math.sqrt(6 / (wave_dim + 1))
        nn.init.uniform_(self.outer, -bound, bound, generator=generator)

    def energy(self, state: State) -> PerRow:
        return self.per_wave(state).sum(dim=-1).mean(dim=-1)

    def per_wave(self, state: State) -> Tensor:
        """The energy of every wave at every position, (B, W, N)."""
        hidden = self._hidden(self._by_wave(state))
        values = torch.bmm(hidden, self.outer[:, :, None]).squeeze(-1) + self.offset[:, None]
        return values.view(self.num_waves, *state.shape[:2]).permute(1, 2, 0)

    def force(self, state: State) -> State:
        hidden = self._hidden(self._by_wave(state))
        # The constant -1/W is folded into the small factor, not into the (N, B·W, C) product.
        slope = (self.outer * (-1 / state.shape[1]))[:, None, :] * (1 - hidden * hidden)
        pulled = torch.bmm(slope, self.inner)
        return pulled.transpose(0, 1).reshape(state.shape)

    def _by_wave(self, state: State) -> Tensor:
        """(B, W, D) → (N, B·W, C), the layout of one batched product over waves."""
        waves: Waves = split_waves(state, self.num_waves)
        return waves.flatten(0, 1).transpose(0, 1)

    def _hidden(self, waves: Tensor) -> Tensor:
        return torch.tanh(
            torch.baddbmm(self.inner_bias[:, None, :], waves, self.inner.transpose(1, 2))
        )


class PatternMemory(AbstractEnergy):
    """A dense associative memory: M learned pairs of patterns a, b ∈ R^D, shared by all positions.

        E_b = -½ Σ_t Σ_m relu(a_m·s_t + α_{t,m})² (b_m·s_t)
        -∇E = Σ_m [ relu(·)(b_m·s_t) a_m + ½ relu(·)² b_m ]          at every position t

    A pattern that a position resembles (a) pulls it along b, and the pull is the exact gradient of
    a declared scalar: the gated cubic member of the dense associative memories of Krotov & Hopfield
    (2016). It reads the full width, so it is where waves act on each other. Parameters: key and
    value (M, D); threshold α (W, M), one per position, so that the same pattern may be listened to
    early in the window and ignored late.
    """

    def __init__(self, window: int, state_dim: int, patterns: int, generator: torch.Generator):
        super().__init__()
        self.key = nn.Parameter(torch.empty(patterns, state_dim))
        self.value = nn.Parameter(torch.empty(patterns, state_dim))
        self.threshold = nn.Parameter(torch.zeros(window, patterns))
        nn.init.normal_(self.key, std=1 / math.sqrt(state_dim), generator=generator)
        nn.init.normal_(self.value, std=0.5 / math.sqrt(state_dim), generator=generator)

    def energy(self, state: State) -> PerRow:
        match, gate = self._overlaps(state)
        return -0.5 * (match * match * gate).sum(dim=(1, 2))

    def force(self, state: State) -> State:
        return self._force(state, None)

    def onto(self, force: State, state: State) -> State:
        return self._force(state, force)

    def _force(self, state: State, start: State | None) -> State:
        """The force, added to what there is already in the product that computes it."""
        match, gate = self._overlaps(state)
        by_key = (match * gate).flatten(0, 1)
        if start is None:
            along_key = by_key @ self.key
        else:
            along_key = torch.addmm(start.flatten(0, 1), by_key, self.key)
        by_value = (match * match).flatten(0, 1)
        return torch.addmm(along_key, by_value, self.value, alpha=0.5).view(state.shape)

    def _overlaps(self, state: State) -> tuple[Tensor, Tensor]:
        """relu(a_m·s_t + α_{t,m}) and b_m·s_t, both (B, W, M)."""
        match = F.relu(F.linear(state, self.key) + self.threshold)
        return match, F.linear(state, self.value)
