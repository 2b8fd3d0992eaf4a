"""From logits to the next id."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from boggers.errors import UserError

RECENT = 4
"""How many of the last ids the repetition penalty looks at."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How each token is drawn, and where a text ends."""

    temperature: float = 1.0
    """Divides the logits; 0 always takes the likeliest token."""

    top_k: int | None = None
    """Draw from the k likeliest tokens only."""

    top_p: float | None = None
    """Draw from the likeliest tokens that together have at least this probability, in (0, 1]."""

    repeat_penalty: float = 0.0
    """Taken off a token's logit for each time it is among the last four (1.35 in the original)."""

    no_repeat_last_extra: float = 0.0
    """Taken off the logit of the very last token besides (5 in the original)."""

    stop_at_separator: bool = False
    """End a text where the model begins another document; otherwise it goes on to --max-tokens."""

    def __post_init__(self) -> None:
        for flag, value in (
            ("--temperature", self.temperature),
            ("--repeat-penalty", self.repeat_penalty),
            ("--no-repeat-last-extra", self.no_repeat_last_extra),
        ):
            if not 0 <= value < math.inf:
                raise UserError(f"{flag} must be a number of at least 0, {value} came.")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"--top-k must be at least 1, {self.top_k} came. Leave it out for all.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"--top-p must be above 0 and at most 1, {self.top_p} came.")


def next_ids(
    logits: Tensor,
    histories: Sequence[Sequence[int]],
    sampling: Sampling,
    generators: Sequence[torch.Generator],
) -> list[int]:
    """Draw one id for every row, each from its own generator and history alone.

    Args:
        logits: (B, V).
        histories: the ids so far of every row.
        sampling: how to draw.
        generators: one per row, on the processor.
    """
    return [
        _draw(row, history, sampling, generator)
        for row, history, generator in zip(
            logits.cpu().double(), histories, generators, strict=True
        )
    ]


def _draw(
    logits: Tensor, history: Sequence[int], sampling: Sampling, generator: torch.Generator
) -> int:
    logits = _penalise(logits, history, sampling)
    if sampling.temperature == 0:
        return int(logits.argmax())
    # The largest becomes 0 first, so that no temperature above 0, however small, overflows.
    scaled = (logits - logits.max()) / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < len(scaled):
        # Exactly k survive, also among equals.
        kept = scaled.topk(sampling.top_k)
        scaled = torch.full_like(scaled, -torch.inf).scatter(0, kept.indices, kept.values)
    probabilities = scaled.softmax(dim=0)
    if sampling.top_p is not None:
        ordered, places = probabilities.sort(descending=True, stable=True)
        # A token stays while the likelier ones before it do not reach top_p.
        stays = ordered.cumsum(dim=0) - ordered < sampling.top_p
        probabilities = torch.zeros_like(probabilities).scatter(0, places, ordered * stays)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _penalise(logits: Tensor, history: Sequence[int], sampling: Sampling) -> Tensor:
    if not history or not (sampling.repeat_penalty or sampling.no_repeat_last_extra):
        return logits
    logits = logits.clone()
    for token in history[-RECENT:]:
        logits[token] -= sampling.repeat_penalty
    logits[history[-1]] -= sampling.no_repeat_last_extra
    return logits
