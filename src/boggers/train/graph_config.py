"""The options of the living graph and of token memory in a run. Imports nothing of `graph/`."""

import math
from dataclasses import dataclass
from typing import Annotated

import tyro

from boggers.errors import UserError
from boggers.model.architectures import ModelConfig
from boggers.model.stream_config import StreamConfig
from boggers.model.token_config import TokenConfig

BEAT_TOKENS = 4096
"""Two batches of the recipes window, demo and stream-small."""


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """A living graph beside the model, and a memory of its tokens; both are off by default."""

    use_substrate: bool = False
    """Let the model's tension drive a living graph, kept as graph.sqlite in the run's folder."""

    use_goat_memory: bool = False
    """Remember which tokens were read lately; active ones pull while states settle, deep ones are
    left out of --token-bigram-bias. Saved with every checkpoint; the pull stays with the model."""

    beat_tokens: int | None = None
    """Tokens read between two beats: at the first batch, and whenever as many more were read, the
    graph feels the mean tension since the last beat and the memory takes in what was read. 1 makes
    every batch a beat. 4,096 if left out; 1 with --substrate-original."""

    language_threshold: float = 0.10
    """Beats of less tension do not reach the graph."""

    evolve_threshold: float = 0.15
    """Strain across an edge, at rest, above which it breaks and a node grows in it; with
    --substrate-original, the graph's tension above which a node is added."""

    substrate_original: bool = False
    """Drive the graph exactly as TS-Core's bridge did: no base levels, one plain tick a beat."""

    hook_url: str | None = None
    """Where to POST {lang_tension, ts_tension, evolve} whenever the graph grows; LLM_HOOK_URL if
    left out, nowhere if that is not set either. It never delays training."""

    graph_steps: float | None = None
    """Gain by which the graph's tension lengthens settling: K (1 + gain · 2T), at most 2K."""

    graph_breaks: float | None = None
    """Gain by which the graph's mean activation ā moves the break threshold: 1 + gain (2ā - 1)
    times as high, between a half and double. Needs --breaks."""

    graph_temperature: float | None = None
    """Gain by which the graph's tension lowers the sampling temperature of generation with
    --use-substrate: 1 - gain · 2T times, between a half and double."""

    graph_rate: float | None = None
    """Gain by which rising tension of the graph damps the learning rate: 1 / (1 + gain · rise), at
    least a half; the rise is over a slow average, as a share of 0.5."""

    memory_decay: float = 0.95
    """What is left of a token's activation after a beat; at least 0, usually below 1."""

    memory_active_threshold: float = 0.5
    """Activation from which a token is active; the most frequent token of a beat gains as much."""

    memory_dormant_threshold: float = 0.1
    """Activation below which a token is not active; at least 0, at most the active one."""

    memory_ticks_to_deep: int = 3
    """Beats on end below that after which a token is deep; at least 1."""

    memory_bonus_scale: Annotated[float, tyro.conf.arg(aliases=("--goat-bonus-scale",))] = 0.05
    """An active token's pull, as a multiple of its activation; at least 0."""

    def __post_init__(self) -> None:
        for option in (
            "language_threshold",
            "evolve_threshold",
            "graph_steps",
            "graph_breaks",
            "graph_temperature",
            "graph_rate",
        ):
            value = getattr(self, option)
            if value is not None and not math.isfinite(value):
                raise UserError(f"{_flag(option)} must be a finite number; it is {value}.")
        for option, holds, rule in (
            ("memory_decay", 0 <= self.memory_decay < math.inf, "at least 0"),
            (
                "memory_dormant_threshold",
                0 <= self.memory_dormant_threshold <= self.memory_active_threshold < math.inf,
                "at least 0 and at most --memory-active-threshold",
            ),
            ("memory_ticks_to_deep", self.memory_ticks_to_deep >= 1, "at least 1"),
            ("memory_bonus_scale", 0 <= self.memory_bonus_scale < math.inf, "at least 0"),
        ):
            if not holds:
                raise UserError(f"{_flag(option)} must be {rule}; it is {getattr(self, option)}.")
        if self.beat_tokens is not None:
            if self.beat_tokens < 1:
                raise UserError(f"--beat-tokens must be at least 1; it is {self.beat_tokens}.")
            if not self.anything:
                raise UserError(
                    "--beat-tokens does nothing without --use-substrate or --use-goat-memory."
                )
        if self.evolve_threshold <= 0 and not self.substrate_original:
            raise UserError(f"--evolve-threshold must be above 0; it is {self.evolve_threshold}.")
        if self.graph_rate is not None and self.graph_rate < 0:
            raise UserError(f"--graph-rate must be at least 0; it is {self.graph_rate}.")
        self._require_its_switch()

    @property
    def beat(self) -> int:
        """Tokens between two beats."""
        if self.beat_tokens is not None:
            return self.beat_tokens
        return 1 if self.substrate_original else BEAT_TOKENS

    @property
    def anything(self) -> bool:
        """Whether a run has a graph or a memory at all."""
        return self.use_substrate or self.use_goat_memory

    def _require_its_switch(self) -> None:
        """An option that would do nothing is a mistake."""
        defaults = type(self).__dataclass_fields__
        for switch, options in (
            ("use_substrate", ("substrate_original", "hook_url", *_WITH_SUBSTRATE)),
            ("use_goat_memory", _WITH_MEMORY),
        ):
            if getattr(self, switch):
                continue
            for option in options:
                if getattr(self, option) != defaults[option].default:
                    raise UserError(f"{_flag(option)} does nothing without {_flag(switch)}.")


_WITH_SUBSTRATE = (
    "language_threshold",
    "evolve_threshold",
    "graph_steps",
    "graph_breaks",
    "graph_temperature",
    "graph_rate",
)
_WITH_MEMORY = (
    "memory_decay",
    "memory_active_threshold",
    "memory_dormant_threshold",
    "memory_ticks_to_deep",
    "memory_bonus_scale",
)


def require_fitting(config: GraphConfig, model: ModelConfig) -> None:
    """Refuse controls that this model does not have.

    Raises:
        UserError: breaks are to be moved, but there are none; or steps, but nothing settles; or
            tokens are to be remembered for a model that they cannot pull.
    """
    if config.use_goat_memory and isinstance(model, TokenConfig):
        raise UserError(
            "--use-goat-memory pulls on the states of windows and streams; --architecture token "
            "carries a slow state of its own instead. Leave one of them out."
        )
    if config.graph_breaks is not None and not model.breaks:
        raise UserError("--graph-breaks moves the threshold of breaks, but --breaks is off.")
    if config.graph_steps is not None and not model.num_dynamics_steps:
        raise UserError("--graph-steps lengthens settling, but --num-dynamics-steps is 0.")
    longer = config.graph_steps is not None and config.graph_steps > 0
    if longer and not config.use_goat_memory and isinstance(model, StreamConfig) and rests(model):
        raise UserError(
            "--graph-steps gives a stage more steps, but with --memory recall it is at rest "
            "after --num-dynamics-steps. Add --random-steps, which trains further ones."
        )


def rests(model: StreamConfig) -> bool:
    """Whether nothing but the bowl of a recall moves a stage, which its trained steps end in."""
    bowl = model.memory == "recall" and not model.random_steps
    return bowl and not (model.anchor_strength or model.breaks or model.token_bonus)


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
