"""What a model has read lately: every token of the vocabulary is active, dormant or deep."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from boggers.errors import UserError
from boggers.graph.memory_tick import ACTIVE, DEEP, DORMANT, how_often, vectors

STATES = ("dormant", "active", "deep")


@dataclass(frozen=True, kw_only=True)
class MemoryRule:
    """How tokens are remembered and forgotten."""

    decay_rate: float = 0.95
    """What is left of an activation after a tick, as a factor of at least 0; usually below 1."""

    active_threshold: float = 0.5
    """A: from this activation on a token is active; seeing the batch's most frequent token adds as
    much."""

    dormant_threshold: float = 0.1
    """L: below this activation a token is not active; at most A. Every token starts at it."""

    ticks_to_deep: int = 3
    """Ticks on end below L after which a token is deep; at least 1."""

    bonus_scale: float = 0.05
    """What an active token's activation is multiplied by to give its bonus; at least 0."""

    def __post_init__(self) -> None:
        for holds, rule, value in (
            (0.0 <= self.decay_rate < math.inf, "The decay must be at least 0", self.decay_rate),
            (
                0.0 <= self.dormant_threshold <= self.active_threshold < math.inf,
                "The dormant threshold must be at least 0 and at most the active one",
                self.dormant_threshold,
            ),
            (self.ticks_to_deep >= 1, "Ticks to deep must be at least 1", self.ticks_to_deep),
            (0.0 <= self.bonus_scale < math.inf, "The bonus must be at least 0", self.bonus_scale),
        ):
            if not holds:
                raise UserError(f"{rule}; it is {value}.")


SWEEP_RANGES: dict[str, tuple[float, float]] = {
    "decay_rate": (0.85, 0.99),
    "active_threshold": (0.3, 0.7),
    "dormant_threshold": (0.05, 0.2),
    "ticks_to_deep": (1, 8),
    "bonus_scale": (0.0, 0.15),
}
"""Sensible ranges of every knob."""


@dataclass(frozen=True)
class MemoryStats:
    """How many tokens are in each state after so many ticks."""

    tick: int
    active: int
    dormant: int
    deep: int


class TokenMemory:
    """Three vectors over the vocabulary: activation a, state, and ticks spent low.

    A tick reads the tokens of a batch, n_v of each:

        a_v ← min(1, a_v + A n_v / max n)  where n_v > 0,       then a ← max(0, ρ a)
        a ≥ A: active      a < L: dormant, unless deep; deep after K such ticks on end
        L ≤ a < A: as before (what was active stays active, what was deep stays deep)

    The original is GOAT-TS's `memory_tick` over one Python object a token.

    Args:
        vocab_size: V, at least 1.
        rule: thresholds and rates.
        device: where the vectors live; a tick never waits for it.
    """

    def __init__(
        self,
        vocab_size: int,
        rule: MemoryRule | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if vocab_size < 1:
            raise UserError(
                f"A memory needs at least one token; a vocabulary of {vocab_size} came."
            )
        self.rule = rule or MemoryRule()
        first = self.rule.dormant_threshold
        begin = {
            "activation": torch.full((vocab_size,), first, dtype=torch.float64),
            "state": torch.full((vocab_size,), DORMANT, dtype=torch.int8),
            "low_ticks": torch.zeros(vocab_size, dtype=torch.int32),
        }
        self._device = torch.device(device)
        self._vectors = vectors(begin, self._device)
        self.ticks = 0

    def __len__(self) -> int:
        return len(self.activation)

    @property
    def activation(self) -> Tensor:
        """a, (V,)."""
        return self._vectors.activation

    @property
    def state(self) -> Tensor:
        """0 dormant, 1 active, 2 deep, (V,), int8; a copy."""
        return self._vectors.state

    @property
    def low_ticks(self) -> Tensor:
        """Ticks on end below L, (V,), int32."""
        return self._vectors.low_ticks

    def tick(self, contexts: Tensor) -> None:
        """Read a batch of token ids of any shape and let everything else fade a little.

        Ids outside the vocabulary are ignored; an empty batch is pure decay.
        """
        self._vectors.read(contexts, self.rule)
        self.fade()

    def fade(self) -> None:
        """Decay, then change states, then count low ticks: GOAT-TS's `memory_tick`."""
        self._vectors.fade(self.rule)
        self.ticks += 1

    def revive(self, ids: Tensor, when: Tensor | None = None) -> None:
        """Make the dormant tokens among these active, at an activation of at least 0.5.

        Args:
            ids: of any shape; those outside the vocabulary are ignored.
            when: a truth value on the device; None = always.
        """
        ids = ids.reshape(-1)
        if not len(ids):
            return
        known = self._vectors
        at, seen = how_often(known.activation, ids)
        activation, active = known.activation.index_select(0, at), known.active.index_select(0, at)
        rise = (seen > 0) & ~active & ~known.deep.index_select(0, at)
        if when is not None:
            rise = rise & when
        risen = torch.where(rise, activation.clamp_min(0.5), activation)
        known.activation.scatter_(0, at, risen)
        known.active.scatter_(0, at, active | rise)

    def bonus(self, out: Tensor | None = None) -> Tensor:
        """bonus_scale · a of active tokens, 0 of others, (V,), in float32.

        Args:
            out: written and returned; a new vector if left out.
        """
        found = torch.empty(len(self), device=self._device) if out is None else out
        self._vectors.bonus(self.rule.bonus_scale, found)
        return found

    def deep(self) -> Tensor:
        """Which tokens are deep, (V,): they are left out of the bigram bias. A copy."""
        return self._vectors.deep.clone()

    def bonus_of(self, token: int) -> float:
        """One token's bonus; 0 outside the vocabulary. Waits for the device."""
        if not 0 <= token < len(self) or not self._vectors.active[token]:
            return 0.0
        return self.rule.bonus_scale * float(self.activation[token])

    def state_of(self, token: int) -> str:
        """One token's state; dormant outside the vocabulary. Waits for the device."""
        return STATES[int(self.state[token])] if 0 <= token < len(self) else STATES[DORMANT]

    def stats(self) -> MemoryStats:
        """Tokens in each state. Waits for the device."""
        counts = torch.bincount(self.state.long(), minlength=len(STATES)).tolist()
        return MemoryStats(self.ticks, counts[ACTIVE], counts[DORMANT], counts[DEEP])

    def tensors(self) -> dict[str, Tensor]:
        """Everything that has to be kept, for a checkpoint."""
        return {
            "activation": self.activation.contiguous(),
            "state": self.state,
            "low_ticks": self.low_ticks,
            "ticks": torch.tensor(self.ticks),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave.

        Raises:
            UserError: it is of another vocabulary, or something is missing.
        """
        mine = self.tensors()
        for name, value in mine.items():
            came = tuple(tensors[name].shape) if name in tensors else None
            if came != tuple(value.shape):
                raise UserError(
                    f"A token memory of {len(self):,} tokens needs {name} {tuple(value.shape)}; "
                    f"{came or 'nothing'} came. Use the checkpoint of this run."
                )
        self._vectors = vectors(tensors, self._device)
        self.ticks = int(tensors["ticks"])


def sweep(rule: MemoryRule, points: int = 3) -> Iterator[tuple[str, float, MemoryRule]]:
    """One knob after another over its range, the others as they are: (name, value, rule).

    Args:
        rule: what the knobs are now.
        points: values of each knob, evenly spaced, at least 2.

    Raises:
        UserError: fewer than 2 points.
    """
    if points < 2:
        raise UserError(f"A sweep needs at least 2 points a knob; {points} came.")
    for (name, (low, high)), place in itertools.product(SWEEP_RANGES.items(), range(points)):
        value = low + (high - low) * place / (points - 1)
        chosen: Any = round(value) if name == "ticks_to_deep" else value
        yield name, chosen, replace(rule, **{name: chosen})


def sweep_config(rule: MemoryRule) -> dict[str, dict[str, object]]:
    """Every knob's range and present value, as the original lists them."""
    return {
        field.name: {
            "range": list(SWEEP_RANGES[field.name]),
            "current": getattr(rule, field.name),
        }
        for field in fields(rule)
    }
