"""A named extra energy: states are drawn towards, or away from, some tokens or a sentence."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from boggers.field.base import AbstractEnergy
from boggers.field.memory import DirectionMemory, Memory
from boggers.infer.decoder import window_contexts
from boggers.infer.noise import breaking_noise
from boggers.model.stream import StreamModel
from boggers.model.window import WindowModel
from boggers.shapes import PerPosition, PerRow, State, Stream


@dataclass(frozen=True)
class Bias:
    """What the extra energy asks for.

    Attributes:
        kind: tokens: which token comes next; text: where a sentence settles.
        ids: the tokens, or the sentence's.
        towards: whether states are drawn there; otherwise they are pushed away.
        strength: λ > 0, dimensionless.
        name: what the request calls it.
    """

    kind: Literal["tokens", "text"]
    ids: tuple[int, ...]
    towards: bool
    strength: float
    name: str = "bias"


class TokenSurprise(DirectionMemory):
    """The surprise of the readout about a set A of tokens, as an energy of a stream's position.

        L(n) = -λ ln P(A | n)       P = softmax(E n)          f = λ Eᵀ (q - P),  q = P given A

    With `towards` unset A is the complement of the set. The force fades as P(A) comes to 1.
    """

    def __init__(self, table: Tensor, bias: Bias) -> None:
        super().__init__()
        self.table = table.detach()
        self.strength = bias.strength
        self.wanted = wanted_mask(bias, len(table)).to(table.device)

    def landscape(self, unit: Stream) -> PerPosition:
        return self.strength * surprise(unit @ self.table.t(), self.wanted)

    def pull(self, unit: Stream) -> Stream:
        logits = unit @ self.table.t()
        masked = logits.masked_fill(~self.wanted, -math.inf)
        return self.strength * (masked.softmax(-1) - logits.softmax(-1)) @ self.table


class Likeness(DirectionMemory):
    """The direction in which a sentence settles, as an energy of a stream's position.

    L(n) = ∓λ n·d       d = mean over the sentence of n, scaled to rms 1        f = ±λ d
    """

    def __init__(self, direction: Tensor, bias: Bias) -> None:
        super().__init__()
        self.towards = direction * (bias.strength if bias.towards else -bias.strength)

    def landscape(self, unit: Stream) -> PerPosition:
        return -(unit * self.towards).sum(dim=-1)

    def pull(self, unit: Stream) -> Stream:
        return self.towards.expand_as(unit)


class WindowTokenSurprise(AbstractEnergy):
    """E(S) = -λ ln P(A | S), the surprise of a window's readout about a set of tokens.

    The force is exact; it is taken through the readout by differentiation, whatever its form.
    """

    def __init__(self, model: WindowModel, bias: Bias) -> None:
        super().__init__()
        self.read = model.read
        self.strength = bias.strength
        self.wanted = wanted_mask(bias, model.vocab_size).to(model.embedding.device)

    def energy(self, state: State) -> PerRow:
        return self.strength * surprise(self.read(state), self.wanted)

    def force(self, state: State) -> State:
        with torch.enable_grad():
            point = state.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(point).sum(), point)
        return -slope


class WindowLikeness(AbstractEnergy):
    """E(S) = ∓λ Σ_t s_t · d_t with d the mean window in which a sentence settles."""

    def __init__(self, direction: Tensor, bias: Bias) -> None:
        super().__init__()
        self.towards = direction * (bias.strength if bias.towards else -bias.strength)

    def energy(self, state: State) -> PerRow:
        return -(state * self.towards).sum(dim=(1, 2))

    def force(self, state: State) -> State:
        return self.towards.expand_as(state)


def stream_energy(model: StreamModel, bias: Bias) -> Memory:
    """The extra energy of a stream's last stage."""
    if bias.kind == "tokens":
        return TokenSurprise(model.embedding, bias)
    tokens = torch.tensor([bias.ids], device=model.embedding.device)
    noise = breaking_noise(tokens.device)
    states = model(tokens, generator=noise, reads="none").states
    mean = torch.nn.functional.rms_norm(states[0], states.shape[-1:]).mean(dim=0)
    return Likeness(torch.nn.functional.rms_norm(mean, mean.shape), bias)


def window_energy(model: WindowModel, bias: Bias) -> AbstractEnergy:
    """The extra energy of a window."""
    if bias.kind == "tokens":
        return WindowTokenSurprise(model, bias)
    rows = [bias.ids[: end + 1] for end in range(len(bias.ids))]
    contexts = window_contexts(model, rows)
    settled = model.settle(contexts, generator=breaking_noise(contexts.device)).state
    return WindowLikeness(torch.nn.functional.normalize(settled.mean(dim=0), dim=-1), bias)


def surprise(logits: Tensor, wanted: Tensor) -> Tensor:
    """-ln P of the wanted ids together."""
    among = logits.masked_fill(~wanted, -math.inf)
    return torch.logsumexp(logits, dim=-1) - torch.logsumexp(among, dim=-1)


def wanted_mask(bias: Bias, vocab_size: int) -> Tensor:
    """(V): the ids that the bias makes likelier."""
    named = torch.zeros(vocab_size, dtype=torch.bool)
    named[list(bias.ids)] = True
    return named if bias.towards else ~named
