"""A recall memory that goes on learning while a text is read: fast values beside the slow ones."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from boggers.field.blocks import Blocks
from boggers.field.memory import Memory, RecallMemory, RecallWell, Well
from boggers.shapes import PerPosition, Stream

BLOCK = 128
"""Most positions that are compared with each other; what came before is in the fast values."""

SILENT = 1e-4
"""Added to the length of the answers, so that a proposal that no pattern answers has none."""

STRENGTH, SPAN = 0.1, 200.0
"""How strong fast values are before training, and how many tokens they last."""


@dataclass(frozen=True)
class Taught:
    """What B texts have taught their patterns: its size never grows. Empty where none learn.

    Attributes:
        values: (B, M, D), w after the latest token, float32 at least.
        asked: (B, M), â of the latest position, whose follower has not been read.
    """

    values: Float[Tensor, "B M D"]
    asked: Float[Tensor, "B M"]


class FastValues(nn.Module):
    """What followed where patterns answered, they recall the next time they answer.

        w_m,t = λ w_m,t-1 + â_m,t-1 e_t          λ = exp(-1/τ)          â = a / (‖a‖ + 1e-4)
        f_t = c Σ_m â_m,t w_m,t                     = c Σ_{i≤t} λ^{t-i} (â_t·â_{i-1}) e_i

    a_t are the answers of a recall memory's patterns at position t, e_t the unit embedding of the
    token that was read there. It is one step of learning a token, by the same rule for every
    pattern: the gradient of â·W e in W is what is added. A stretch is read in blocks: the second
    form within a block, the first from one block to the next, so that the cost of a token does not
    depend on how many came before it. Parameters: c and log τ, one each.

    Source: the fast weights of Schmidhuber (1992) and Ba et al. (2016); learning while reading,
    Krause et al. (2018), "Dynamic evaluation of neural sequence models".

    Args:
        patterns: M. state_dim: D.
    """

    def __init__(self, patterns: int, state_dim: int) -> None:
        super().__init__()
        self.patterns, self.state_dim = patterns, state_dim
        self.strength = nn.Parameter(torch.full((1,), STRENGTH))
        self.log_span = nn.Parameter(torch.full((1,), math.log(SPAN)))

    def start(self, rows: int) -> Taught:
        """What `rows` texts have taught of which nothing has been read."""
        kind = torch.promote_types(self.strength.dtype, torch.float32)
        asked = torch.zeros(rows, self.patterns, dtype=kind, device=self.strength.device)
        return Taught(asked[..., None].repeat(1, 1, self.state_dim), asked)

    def forward(
        self, answers: Float[Tensor, "B T M"], told: Stream, before: Taught
    ) -> tuple[Stream, Taught]:
        """f at every position, and what the texts have taught after the last.

        Args:
            answers: (B, T, M), a.
            told: (B, T, D), e.
            before: what they had taught before the first.
        """
        unit = self._unit(answers)
        keys = torch.cat([before.asked.to(unit.dtype)[:, None], unit[:, :-1]], dim=1)
        # A position that is nothing sensible must not reach those before it, not even as 0 · NaN.
        told = torch.nan_to_num(told)
        length = told.shape[1]
        cut = Blocks.of(length, BLOCK)
        query, key, value = cut.divide(unit), cut.divide(keys), cut.divide(told)
        places = torch.arange(cut.length, device=told.device)
        since = places[:, None] - places
        alike = query @ key.transpose(1, 2)
        alike = torch.where(since >= 0, alike * self._fading(since.clamp_min(0)), 0.0)
        begins, after = self._carry(key, value, before.values, cut, length)
        asked = query * self._fading(places + 1)[:, None]
        found = (alike.to(value.dtype) @ value) + asked.to(value.dtype) @ begins.to(value.dtype)
        kept = Taught(after, unit[:, -1].to(before.asked.dtype))
        return cut.join(self.strength.to(found.dtype) * found, length), kept

    def of_each(self, answers: Float[Tensor, "N 1 M"], taught: Taught) -> Float[Tensor, "N M D"]:
        """What each pattern adds to f at single positions, after their tokens were read."""
        parts = self._unit(answers)[:, 0, :, None] * taught.values
        return self.strength * parts

    def _unit(self, answers: Tensor) -> Tensor:
        """â."""
        length = torch.linalg.vector_norm(answers, dim=-1, keepdim=True)
        unit: Tensor = answers / (length + SILENT)
        return unit

    def _carry(
        self, key: Tensor, value: Tensor, before: Tensor, cut: Blocks, length: int
    ) -> tuple[Tensor, Tensor]:
        """w before every block, (B · N, M, D), and after the last."""
        device = key.device
        ends = (torch.arange(1, cut.count + 1, device=device) * cut.length).clamp_max(length)
        first = torch.arange(cut.count, device=device) * cut.length
        ages = (ends - first)[:, None] - 1 - torch.arange(cut.length, device=device)
        faded = self._fading(ages.clamp_min(0)).repeat(len(before), 1)[..., None]
        gained = (key * faded).to(value.dtype).transpose(1, 2) @ value
        gained = gained.to(before.dtype).view(len(before), cut.count, *before.shape[1:])
        left = self._fading(ends - first)
        states = [before]
        for block in range(cut.count):
            states.append(torch.addcmul(gained[:, block], left[block], states[-1]))
        return torch.stack(states[:-1], dim=1).flatten(0, 1), states[-1]

    def _fading(self, ages: Tensor) -> Tensor:
        """λ^age."""
        return torch.exp(-ages * torch.exp(-self.log_span))


class TaughtRecall(Memory):
    """A stage's recall memory for one stretch of B texts, with what they have taught it so far.

        E(s; p) = ½ ‖s - p‖² - (s - p) · (d r(p) + f(p))          -∇_s E = (p - s) + d r(p) + f(p)

    r is what the memory recalls of all that it has read, f what it recalls of this text, see
    `FastValues`. The bowl stays a bowl: its bottom is p + d r + f. Its energy reads the
    proposals of earlier positions too, so it must be given those of the whole stretch. The fast
    values act in the last step that feels the past, and in those after it.

    Args:
        memory: with keys, values, thresholds and depths.
        fast: how its values learn.
        told: (B, T, D), the unit embeddings of the tokens.
        before: what the texts had taught before this stretch.
        last: the step, counted from 0, that feels the past last.
    """

    def __init__(
        self, memory: RecallMemory, fast: FastValues, told: Stream, before: Taught, last: int
    ) -> None:
        super().__init__()
        self.memory, self.fast = memory, fast
        self.told, self.before, self.last_step = told, before, last
        self.after = Taught(before.values, torch.zeros_like(before.asked))
        self._found: _Found | None = None

    def recall(self, proposal: Stream, answers: Float[Tensor, "B T M"]) -> Stream:
        """f(p), and in `after` what the texts have taught after the stretch.

        Settling asks for it once, and every measured height of a bowl around the same proposal
        again: the latest answer is kept.
        """
        traced = torch.is_grad_enabled()
        found = self._found
        if found is None or found.proposal is not proposal or traced > found.traced:
            drawn, self.after = self.fast(answers, self.told, self.before)
            found = self._found = _Found(proposal, drawn, traced)
        return found.drawn

    def at(self, step: int) -> Well:
        """The landscape of a step, counted from 0."""
        if step < self.last_step:
            return self.memory.at(step)
        return TaughtWell(self.memory, min(step, self.memory.steps - 1), self)

    def energy(self, state: Stream, proposal: Stream) -> PerPosition:
        """E of the last step."""
        return self.at(self.memory.steps).energy(state, proposal)

    def force(self, state: Stream, proposal: Stream) -> Stream:
        """-∇_s E of the last step, exact; what the texts have taught after it is in `after`."""
        return self.at(self.memory.steps).force(state, proposal)


@dataclass(frozen=True)
class _Found:
    """What fast values recalled at a proposal, and whether a gradient can run back through it."""

    proposal: Stream
    drawn: Stream
    traced: bool


@dataclass(frozen=True)
class TaughtWell(RecallWell):
    """The landscape of one step of a memory that is being taught; the equations stand there."""

    text: TaughtRecall

    def of_each(self, proposal: Float[Tensor, "N 1 D"]) -> Float[Tensor, "N M D"]:
        """What each pattern adds to f at the single positions of N texts."""
        answers = self.memory.answers(proposal)
        self.text.recall(proposal, answers)
        return self.text.fast.of_each(answers, self.text.after)

    def _recalled(self, proposal: Stream) -> Stream:
        """d r(p) + f(p), (B, T, D)."""
        answers = self.memory.answers(proposal)
        return self.deep * (answers @ self.memory.value) + self.text.recall(proposal, answers)
