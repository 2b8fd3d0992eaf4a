"""Associative memories that a position settles in: declared energies, forces exact."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boggers.field.metric import fading
from boggers.field.unit import unit_rms
from boggers.field.waves import split_waves
from boggers.shapes import PerPosition, Stream

ROUNDING = 1e-6
"""Added to the mean square of a state, so that a state of zero has a direction: none."""


@runtime_checkable
class Well(Protocol):
    """What a position settles in during one step; see `Memory`."""

    def energy(self, state: Stream, proposal: Stream) -> PerPosition:
        """E at every position of (B, T, D), dimensionless."""

    def force(self, state: Stream, proposal: Stream) -> Stream:
        """-∇_s E, exact, at every position; differentiable by ordinary backpropagation."""


class Memory(nn.Module, ABC):
    """A learned landscape for one position, the same for every position of a stream.

    E_t(s_t; p_t) reads position t alone: nothing passes between positions, rows or moments through
    it. The proposal p is where the position stood after it last felt its past; it is held fixed
    while the position settles, like a field from outside.
    """

    @abstractmethod
    def energy(self, state: Stream, proposal: Stream) -> PerPosition:
        """E at every position of (B, T, D), dimensionless."""

    @abstractmethod
    def force(self, state: Stream, proposal: Stream) -> Stream:
        """-∇_s E, exact, at every position; differentiable by ordinary backpropagation."""

    def at(self, step: int) -> Well:
        """The landscape of a step, counted from 0; the same at every step unless it says not."""
        return self


class RecallMemory(Memory):
    """M pairs of patterns: a proposal that resembles k_m recalls v_m, and the state goes there.

        E_k(s; p) = ½ ‖s - p‖² - d_k (s - p) · r(p)
        -∇_s E_k = (p - s) + d_k r(p)
        r(p) = Vᵀ relu(K p̂ + α)²      p̂ = p / rms(p)      d_k = 2 σ(ρ_k)

    A bowl around p + d r(p): one step of rate 1 from the proposal comes to rest exactly, any rate
    in (0, 2) goes down, and E falls by ½ d² ‖r‖². Key and value are patterns of their own, as in a
    bidirectional associative memory (Kosko, 1988) whose key side is held by the field; V starts at
    zero, so an untrained memory recalls nothing. Parameters: K and V (M, D), threshold α (M), depth
    ρ of every step (at the start d is 1, and ½, ¼, … of further steps).

    Args:
        state_dim: D.
        patterns: M.
        steps: how many have a depth of their own; those beyond have the last one's.
        generator: source of the initial keys.
        further: as many again, which begin shallow.
    """

    def __init__(
        self,
        state_dim: int,
        patterns: int,
        steps: int,
        generator: torch.Generator,
        further: int = 0,
    ) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.empty(patterns, state_dim))
        self.value = nn.Parameter(torch.zeros(patterns, state_dim))
        self.threshold = nn.Parameter(torch.zeros(patterns))
        self.depth = nn.Parameter(torch.logit(fading(steps, further) / 2))
        self.steps = steps + further
        nn.init.normal_(self.key, std=state_dim**-0.5, generator=generator)

    def at(self, step: int) -> Well:
        """The landscape of a step, counted from 0."""
        return RecallWell(self, min(step, self.steps - 1))

    def last(self) -> "RecallWell":
        """The landscape of the last step that has a depth of its own."""
        return RecallWell(self, self.steps - 1)

    def energy(self, state: Stream, proposal: Stream) -> PerPosition:
        """E of that last step."""
        return self.last().energy(state, proposal)

    def force(self, state: Stream, proposal: Stream) -> Stream:
        """-∇_s E of that last step, exact."""
        return self.last().force(state, proposal)

    def answers(self, proposal: Stream) -> Tensor:
        """How strongly each pattern answers a proposal, (B, T, M)."""
        return F.relu(F.linear(unit_rms(proposal), self.key, self.threshold)).square()


@dataclass(frozen=True)
class RecallWell:
    """The landscape of one step of a recall memory; the equations stand there."""

    memory: RecallMemory
    step: int

    @property
    def deep(self) -> Tensor:
        """d of the step, a scalar in (0, 2)."""
        return 2 * torch.sigmoid(self.memory.depth[self.step])

    def energy(self, state: Stream, proposal: Stream) -> PerPosition:
        away = state - proposal
        return (away * (0.5 * away - self._recalled(proposal))).sum(dim=-1)

    def force(self, state: Stream, proposal: Stream) -> Stream:
        recalled = self._recalled(proposal)
        # Where settling begins there is no distance to the proposal yet.
        return recalled if state is proposal else recalled + (proposal - state)

    def _recalled(self, proposal: Stream) -> Stream:
        """d r(p), (B, T, D)."""
        return self.deep * (self.memory.answers(proposal) @ self.memory.value)


class DirectionMemory(Memory, ABC):
    """A learned landscape over the direction of a position, n = s / √(mean(s²) + 1e-6).

        E(s) = L(n(s))           -∇_s E = (f - n (n·f)/D) / √(mean(s²) + 1e-6),   f = -∇_n L

    Positions are independent. The gradient is taken with respect to the state itself: its part
    along n, which could only stretch the state, cancels, and the longer a state has grown the less
    it is turned. Concrete memories state L and f in closed form; the tests hold both against
    autograd.
    """

    def energy(self, state: Stream, proposal: Stream) -> PerPosition:
        """E at every position, whatever the proposal."""
        return self.landscape(state * _inverse_length(state))

    def force(self, state: Stream, proposal: Stream) -> Stream:
        """-∇_s E, exact, at every position."""
        inverse = _inverse_length(state)
        unit = state * inverse
        pull = self.pull(unit)
        along = (pull * unit).mean(dim=-1, keepdim=True)
        return torch.addcmul(pull, unit, along, value=-1) * inverse

    @abstractmethod
    def landscape(self, unit: Stream) -> PerPosition:
        """L(n), (B, T)."""

    @abstractmethod
    def pull(self, unit: Stream) -> Stream:
        """f = -∇_n L, (B, T, D)."""


class GatedMemory(DirectionMemory):
    """M pairs of patterns: a position that resembles a_m is pulled along b_m.

        L = -½ Σ_m u_m² v_m       u = relu(K n + α), v = V n
        f = Kᵀ (u ⊙ v) + ½ Vᵀ u²

    The gated cubic member of the dense associative memories of Krotov & Hopfield (2016).
    Parameters: key K and value V (M, D), threshold α (M).
    """

    def __init__(self, state_dim: int, patterns: int, generator: torch.Generator) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.empty(patterns, state_dim))
        self.value = nn.Parameter(torch.empty(patterns, state_dim))
        self.threshold = nn.Parameter(torch.zeros(patterns))
        nn.init.normal_(self.key, std=state_dim**-0.5, generator=generator)
        nn.init.normal_(self.value, std=0.1 * state_dim**-0.5, generator=generator)

    def landscape(self, unit: Stream) -> PerPosition:
        match, gate = self._overlaps(unit)
        return -0.5 * (match * match * gate).sum(dim=-1)

    def pull(self, unit: Stream) -> Stream:
        match, gate = self._overlaps(unit)
        # Both patterns in one product: the first half of the rows is K, the second V.
        strength = torch.cat([match * gate, 0.5 * match * match], dim=-1)
        return strength @ torch.cat([self.key, self.value])

    def _overlaps(self, unit: Stream) -> tuple[Tensor, Tensor]:
        """u and v, both (B, T, M)."""
        match = F.relu(F.linear(unit, self.key, self.threshold))
        return match, F.linear(unit, self.value)


class RectifiedMemory(DirectionMemory):
    """M patterns, each attracting what already resembles it, the more the nearer.

        L = -(c/3) Σ_m u_m³       u = relu(Ξ n + α)          f = c Ξᵀ u²

    The polynomial dense associative memory of Krotov & Hopfield (2016) with n = 3. Parameters:
    pattern Ξ (M, D), threshold α (M), strength c (a scalar, free to turn attraction around).
    """

    def __init__(self, state_dim: int, patterns: int, generator: torch.Generator) -> None:
        super().__init__()
        self.pattern = nn.Parameter(torch.empty(patterns, state_dim))
        self.threshold = nn.Parameter(torch.zeros(patterns))
        self.strength = nn.Parameter(torch.tensor(0.1))
        nn.init.normal_(self.pattern, std=state_dim**-0.5, generator=generator)

    def landscape(self, unit: Stream) -> PerPosition:
        cubes = F.relu(F.linear(unit, self.pattern, self.threshold)).pow(3)
        return -self.strength / 3 * cubes.sum(dim=-1)

    def pull(self, unit: Stream) -> Stream:
        match = F.relu(F.linear(unit, self.pattern, self.threshold))
        return self.strength * (match.square() @ self.pattern)


class LogSumExpMemory(DirectionMemory):
    """M patterns in each of N waves; each wave is drawn to a soft choice among its own.

        L = -Σ_w c_w/β_w · logsumexp_m(β_w ξ_{w,m}·n_w + α_{w,m})      f_w = c_w Ξ_wᵀ softmax(…)

    The energy of modern Hopfield networks (Ramsauer et al., 2021) without their quadratic term,
    which a direction of fixed length does not need. Parameters: pattern Ξ (N, M, D/N), threshold
    α (N, M), inverse temperature β = exp(b) and strength c, (N).
    """

    def __init__(
        self, state_dim: int, patterns: int, num_waves: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        width = state_dim // num_waves
        self.pattern = nn.Parameter(torch.empty(num_waves, patterns, width))
        self.threshold_bias = nn.Parameter(torch.zeros(num_waves, patterns))
        self.log_sharpness = nn.Parameter(torch.full((num_waves,), math.log(2.0)))
        self.strength = nn.Parameter(torch.ones(num_waves))
        nn.init.normal_(self.pattern, std=width**-0.5, generator=generator)

    def landscape(self, unit: Stream) -> PerPosition:
        depth = self.strength / self.log_sharpness.exp()
        return -(depth * torch.logsumexp(self._match(unit), dim=-1)).sum(dim=-1)

    def pull(self, unit: Stream) -> Stream:
        chosen = self._match(unit).softmax(dim=-1)
        drawn = torch.einsum("btwm,wmc->btwc", chosen, self.pattern)
        return (self.strength[:, None] * drawn).flatten(-2)

    def _match(self, unit: Stream) -> Tensor:
        """β ξ·n + α, (B, T, N, M)."""
        waves = split_waves(unit, len(self.pattern))
        overlaps = torch.einsum("btwc,wmc->btwm", waves, self.pattern)
        return self.log_sharpness.exp()[:, None] * overlaps + self.threshold_bias


def _inverse_length(state: Stream) -> Tensor:
    """1 / √(mean(s²) + 1e-6) of every position, (B, T, 1)."""
    return (state.square().mean(dim=-1, keepdim=True) + ROUNDING).rsqrt()
