"""The stream model as a contestant, and its controls: what does settling in an energy buy?"""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boggers.dynamics.settle import Slope
from boggers.evals.contest import Budget
from boggers.field.memory import Memory
from boggers.field.metric import Metric
from boggers.field.unit import unit_rms
from boggers.model.basins import Rests
from boggers.model.stage import Stage
from boggers.model.stream import StreamConfig, StreamModel
from boggers.shapes import PerPosition
from boggers.shapes import Stream as States

PHRASE_SHARE, PHRASE_WIDTH, PHRASE_HASHES = 4, 16, 2
"""A quarter of the budget goes into tables of phrases, two of them, in rows of 16."""

LONGEST_CONTEXT = 3
"""Tokens whose follower is remembered."""


class Stream(nn.Module):
    """Our stream model; the patterns of its memories fill the budget.

    Its stages are half as many again as the budget's layers, being smaller than these.

    Args:
        budget: its width is the state's.
        generator: draws the weights, and the seed of the noise in training.
    """

    steps: int | None = None
    """Relaxation steps instead of the default of `StreamConfig`."""

    basins = 1
    """Basins of the last stage."""

    fast = False
    """Whether the last stage's patterns go on learning while a text is read."""

    def __init__(self, budget: Budget, generator: torch.Generator) -> None:
        super().__init__()
        config = self._config(budget)
        self.model = StreamModel(config, budget.vocab_size, generator)
        self._adapt(generator)
        self.noise = torch.Generator()
        self.noise.manual_seed(int(torch.randint(2**62, (), generator=generator)))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each of the tokens (B, T)."""
        if self.training:
            # Steps that are drawn at random follow the seed: a new one for every batch.
            seed = int(torch.randint(2**62, (), generator=self.noise))
            self.noise.manual_seed(seed)
        logits: Tensor = self.model(tokens, generator=self.noise if self.training else None).logits
        return logits

    def _config(self, budget: Budget) -> StreamConfig:
        base = StreamConfig(
            state_dim=budget.width,
            num_stages=budget.layers * 3 // 2,
            sequence_length=budget.sequence_length,
            phrase_rows=max(
                1, budget.non_embedding // (PHRASE_SHARE * PHRASE_WIDTH * PHRASE_HASHES)
            ),
            phrase_width=PHRASE_WIDTH,
            phrase_hashes=PHRASE_HASHES,
            succession_orders=LONGEST_CONTEXT,
            recency=True,
            num_basins=self.basins,
            fast_values=self.fast,
        )
        if self.steps is not None:
            base = replace(base, num_dynamics_steps=self.steps, random_steps=False)
        return self._filled(base, budget)

    def _filled(self, base: StreamConfig, budget: Budget) -> StreamConfig:
        return _fill(budget, 8, lambda n: replace(base, memory_patterns=n))

    def _adapt(self, generator: torch.Generator) -> None:
        """Nothing to change; controls do."""


class TwoSteps(Stream):
    """The same model of the same size, settling for two steps a stage instead of one."""

    steps = 2


class TwoBasins(Stream):
    """The same size again, its last stage with two basins to rest in instead of one."""

    basins = 2


class TwoStepsTwoBasins(Stream):
    """The same size again, with both."""

    steps, basins = 2, 2


class Learning(Stream):
    """The same size again, the last stage's patterns learning while a text is read."""

    fast = True


class LearningTwoBasins(Stream):
    """The same size again, with that and with two basins."""

    basins, fast = 2, True


class LearningTwoStepsTwoBasins(Stream):
    """The same size again, with all three."""

    steps, basins, fast = 2, 2, True


class ScanAlone(Stream):
    """No energy at all: couplings alone, widened until they fill the budget."""

    steps = 0

    def _filled(self, base: StreamConfig, budget: Budget) -> StreamConfig:
        return _fill(budget, 4, lambda n: replace(base, coupling_channels=n))


class MLP(Stream):
    """In place of the energy an ordinary network of two untied matrices, as large."""

    steps = 1

    def _adapt(self, generator: torch.Generator) -> None:
        for stage in self.model.stages:
            assert isinstance(stage, Stage)
            config = self.model.config
            stage.memory = UntiedMap(config.state_dim, config.memory_patterns, generator)
            stage.metric = Metric(config.num_dynamics_steps)


class MLPTwice(MLP):
    """That network applied twice a stage, as often as the energy of two steps is descended in."""

    steps = 2


class TwoHeads(MLP):
    """The untied network with two outputs, weighed by a gate of its own instead of energies."""

    basins = 2

    def _adapt(self, generator: torch.Generator) -> None:
        super()._adapt(generator)
        config = self.model.config
        self.model.basins = Heads(
            config.state_dim, config.memory_patterns, config.num_basins, generator
        )


class Heads(nn.Module):
    """Several outputs of one proposal, π = softmax(G p̂ + b): a mixture of softmaxes.

    Source: Yang et al. (2018), "Breaking the Softmax Bottleneck".
    """

    def __init__(
        self, state_dim: int, patterns: int, heads: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            UntiedMap(state_dim, patterns, generator) for _ in range(heads - 1)
        )
        self.gate = nn.Parameter(torch.zeros(heads, state_dim))
        self.tilt = nn.Parameter(torch.zeros(heads))

    def forward(self, settled: States, slope: Slope, proposal: States) -> Rests:
        """What the last stage put out, and what the other maps make of its proposal."""
        others = []
        for each in self.maps:
            assert isinstance(each, UntiedMap)
            others.append(proposal + each.force(proposal, proposal))
        weights = F.linear(unit_rms(proposal), self.gate, self.tilt).log_softmax(dim=-1)
        return Rests((settled, *others), weights.unbind(dim=-1))


class UntiedMap(Memory):
    """Δ = V relu(K n)²: the hidden layer of a transformer, the gradient of nothing.

    It stands where an energy would; its energy is said to be zero because it has none.
    """

    def __init__(self, state_dim: int, patterns: int, generator: torch.Generator) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.empty(patterns, state_dim))
        self.value = nn.Parameter(torch.zeros(patterns, state_dim))
        nn.init.normal_(self.key, std=state_dim**-0.5, generator=generator)

    def force(self, state: States, proposal: States) -> States:
        unit = unit_rms(state)
        return F.relu(F.linear(unit, self.key)).square() @ self.value

    def energy(self, state: States, proposal: States) -> PerPosition:
        return torch.zeros_like(state[..., 0])


def _fill(budget: Budget, multiple: int, config_of: Callable[[int], StreamConfig]) -> StreamConfig:
    """The configuration whose inner width fills the budget."""

    def count(inner: int) -> int:
        model = StreamModel(config_of(inner), 1, torch.Generator())
        return model.parameter_counts().total - budget.width

    return config_of(budget.fill(count, multiple))
