"""One stage of a stream: a coupling to the past, and an energy to settle in."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from boggers.dynamics.settle import Settling, settle
from boggers.field.causal import CausalCoupling, Past
from boggers.field.memory import (
    GatedMemory,
    LogSumExpMemory,
    Memory,
    RecallMemory,
    RectifiedMemory,
)
from boggers.field.metric import Metric, TurningMetric
from boggers.model.stream_config import StreamConfig
from boggers.shapes import Stream

Worked = TypeVar("Worked")


class Stage(nn.Module):
    """One coupling to the past and one energy to settle in, shared by K steps.

        p = s + c(s)          s ← p + Δ_k(-∇E(p; p))          k = 0 … K - 1

    Steps beyond these feel nothing new, see `dynamics.settle`.

    Args:
        config: shape and physics; with K = 0 there is no energy.
        generator: source of the initial weights.
    """

    def __init__(self, config: StreamConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.coupling = CausalCoupling(
            config.state_dim,
            config.channels,
            config.coupling_taps,
            config.shortest_memory,
            config.longest_memory,
            generator,
        )
        self.memory: Memory | None = None
        self.metric: Metric | None = None
        if config.num_dynamics_steps > 0:
            self.memory = make_memory(config, generator)
            self.metric = make_metric(config)

    def pasts(self, steps: int) -> int:
        """How often so many steps feel the past: once at least, without an energy too."""
        return 1 if self.metric is None else max(1, min(steps, self.metric.learned))

    def forward(self, states: Stream, work: Callable[[Stream], Worked]) -> Worked:
        """Do some work with the stage's weights, gathered for it where they are spread."""
        return work(states)


class Carried:
    """A stage's coupling, going on from the past of each of its steps and keeping the new ones."""

    def __init__(self, stage: Stage, before: tuple[Past, ...], push: Tensor | None = None) -> None:
        self.stage = stage
        self.before = before
        self.push = push
        self.after: list[Past] = []

    def __call__(self, states: Stream, step: int) -> Stream:
        felt: Stream
        felt, after = self.stage.coupling(states, self.before[step])
        self.after.append(after)
        if self.stage.metric is not None:
            felt = self.stage.metric.felt(felt, step)
        return felt if self.push is None else felt + self.push


def settled_by(states: Stream, **given: Any) -> tuple[Stream, Settling]:
    """The settled states, also by themselves: what follows a stage is found in its results."""
    rest = settle(states, **given)
    return rest.state, rest


def make_memory(config: StreamConfig, generator: torch.Generator) -> Memory:
    """The energy that a configuration names."""
    if config.memory == "log-sum-exp":
        return LogSumExpMemory(
            config.state_dim, config.memory_patterns, config.num_waves, generator
        )
    width, patterns = config.state_dim, config.memory_patterns
    if config.memory == "gated":
        return GatedMemory(width, patterns, generator)
    if config.memory == "rectified":
        return RectifiedMemory(width, patterns, generator)
    steps = config.num_dynamics_steps
    further = config.learned_steps - steps
    return RecallMemory(width, patterns, steps, generator, further)


def make_metric(config: StreamConfig) -> Metric:
    """How the forces of that energy become steps."""
    steps = config.num_dynamics_steps
    further = config.learned_steps - steps
    if config.memory == "recall":
        return Metric(steps, further)
    return TurningMetric(config.state_dim, steps, further)
