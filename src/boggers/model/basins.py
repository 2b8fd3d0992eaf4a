"""Several places where a position may rest in the end, and how likely each of them is."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from boggers.dynamics.settle import Slope, descend
from boggers.field.memory import RecallMemory
from boggers.field.unit import unit_rms
from boggers.shapes import PerPosition, Stream


@dataclass(frozen=True)
class Rests:
    """Where positions rest, in one place or in several.

    Attributes:
        states: (B, T, D) of each basin, that of the settling itself first.
        chances: (B, T) of each, the logarithm of how likely it is; none where there is one only.
    """

    states: tuple[Stream, ...]
    chances: tuple[PerPosition, ...] = ()

    @classmethod
    def in_one(cls, states: Stream) -> "Rests":
        """Positions that have one place to rest."""
        return cls((states,))

    def each(self, change: Callable[[Tensor], Tensor]) -> "Rests":
        """The same of changed rows."""
        return Rests(tuple(map(change, self.states)), tuple(map(change, self.chances)))

    def unit(self) -> "Rests":
        """The same with states of length √D."""
        return replace(self, states=tuple(map(unit_rms, self.states)))

    def read(self, embedding: Float[Tensor, "V D"]) -> Float[Tensor, "B T V"]:
        """log Σ_n exp(e_v·s_n + chance_n) of every token v, for these states."""
        if len(self.states) == 1:
            return F.linear(self.states[0], embedding)
        # The chance is one more coordinate of the state, which every token has at 1.
        table = torch.cat([embedding, embedding.new_ones(len(embedding), 1)], dim=1)
        parts = [
            F.linear(torch.cat([state, chance[..., None].to(state.dtype)], dim=-1), table)
            for state, chance in zip(self.states, self.chances, strict=True)
        ]
        whole: Tensor = _LogSumExp.apply(*parts)  # type: ignore[no-untyped-call]
        return whole


class Basins(nn.Module):
    """Beside the bowl of the last stage's own memory others, each with a memory of its own.

        s_n at rest in E_n(·; p)              n = 1 … N
        π_n ∝ exp(-β E_n(s_n; p)/D + b_n)          P(v) ∝ Σ_n π_n exp(e_v·s_n/rms(s_n))

    A bowl has one bottom, and what is read at one point of D numbers is a softmax of rank D. With N
    bowls around one proposal the landscape -1/β log Σ_n exp(-β E_n) has several bottoms: the
    position rests in each, token and bottom are distributed as Boltzmann has it, and what is said
    is the sum over the bottoms. All other terms of the landscape belong to every basin. Parameters
    besides the memories: β (one at the start) and b (N), zero at the start.

    Source: Boltzmann's distribution; of mixtures that lift the rank of a softmax, Yang et al.
    (2018), whose weights come from a network of their own and not from an energy.

    Args:
        state_dim: D.
        patterns: M of each memory.
        basins: N ≥ 2, the stage's own among them.
        generator: source of the initial keys.
    """

    def __init__(
        self, state_dim: int, patterns: int, basins: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.memories = nn.ModuleList(
            RecallMemory(state_dim, patterns, 1, generator) for _ in range(basins - 1)
        )
        self.sharpness = nn.Parameter(torch.ones(1))
        self.tilt = nn.Parameter(torch.zeros(basins))

    def forward(self, settled: Stream, slope: Slope, proposal: Stream) -> Rests:
        """All places of rest of positions that have settled in one of them.

        Args:
            settled: (B, T, D), in the basin of the stage's own memory.
            slope: what moved them last, its first term being that memory.
            proposal: (B, T, D), where they last felt their past.
        """
        states, heights = [settled], [slope.energy(settled, proposal)]
        for memory in self.memories:
            assert isinstance(memory, RecallMemory)
            beside = replace(slope, terms=[memory, *slope.terms[1:]], step=0)
            states.append(descend(proposal, proposal, beside, 0))
            heights.append(beside.energy(states[-1], proposal))
        fall = -self.sharpness / settled.shape[-1]
        weights = fall * torch.stack(heights, dim=-1) + self.tilt
        return Rests(tuple(states), weights.log_softmax(dim=-1).unbind(dim=-1))


class _LogSumExp(torch.autograd.Function):
    """log Σ_n exp(z_n) entry by entry, of tensors apart, in fewer passes than autograd's own.

    The sum is not kept for the gradient: what follows may change it in place.
    """

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(*parts)
        return functools.reduce(_add_exp, parts)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, ...]:
        (gradient,) = above
        parts: tuple[Tensor, ...] = ctx.saved_tensors
        if len(parts) == 2:
            second = gradient * torch.sigmoid(parts[1] - parts[0])
            return gradient - second, second
        whole = functools.reduce(torch.logaddexp, parts)
        return tuple(gradient * torch.exp(part - whole) for part in parts)


def _add_exp(first: Tensor, second: Tensor) -> Tensor:
    """log(e^x + e^y), entry by entry.

    On a processor `torch.logaddexp` rounds the last entries of a tensor otherwise than those before
    them, and what a text says would depend on the row that it is in; exp and log1p do not.
    """
    if first.device.type != "cpu":
        return torch.logaddexp(first, second)
    apart = (first - second).abs_().neg_().exp_().log1p_()
    return apart.add_(torch.maximum(first, second))
