"""From logits to the next id."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor
from tyro.conf import Suppress

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

    min_p: float | None = None
    """Draw only from tokens at least this share as likely as the likeliest, in [0, 1]."""

    presence_penalty: float = 0.0
    """Taken off the logit of every token that the text written so far contains, from -2 to 2."""

    frequency_penalty: float = 0.0
    """Taken off it for each time that the text written so far contains it, from -2 to 2."""

    logit_bias: Annotated[Mapping[int, float], Suppress] = field(default_factory=dict)
    """Added to the logits of these ids."""

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
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise UserError(f"--min-p must be from 0 to 1, {self.min_p} came.")
        for flag, value in (
            ("--presence-penalty", self.presence_penalty),
            ("--frequency-penalty", self.frequency_penalty),
        ):
            if not -2 <= value <= 2:
                raise UserError(f"{flag} must be from -2 to 2, {value} came.")


def next_ids(
    logits: Tensor,
    histories: Sequence[Sequence[int]],
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    written: Sequence[int] | None = None,
) -> list[int]:
    """Draw one id for every row, each from its own generator and history alone.

    Args:
        logits: (B, V).
        histories: the ids so far of every row.
        sampling: how to draw.
        generators: one per row, on the processor.
        written: how many of the last ids of every row it has written itself; None = none.
    """
    return [
        draw(row, history, sampling, generator, own)
        for row, history, generator, own in zip(
            logits.cpu().double(),
            histories,
            generators,
            written or [0] * len(histories),
            strict=True,
        )
    ]


def draw(
    logits: Tensor,
    history: Sequence[int],
    sampling: Sampling,
    generator: torch.Generator,
    written: int = 0,
) -> int:
    """Draw one id.

    Args:
        logits: (V), float64, on the processor.
        history: the ids so far.
        sampling: how to draw.
        generator: on the processor.
        written: how many of the last ids the text has written itself.
    """
    logits = _penalise(logits, history, sampling, written)
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
    if sampling.min_p:
        least = sampling.min_p * probabilities.max()
        probabilities = torch.where(probabilities >= least, probabilities, 0.0)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _penalise(logits: Tensor, history: Sequence[int], sampling: Sampling, written: int) -> Tensor:
    own = sampling.presence_penalty or sampling.frequency_penalty
    recent = sampling.repeat_penalty or sampling.no_repeat_last_extra
    if not (own or recent or sampling.logit_bias):
        return logits
    logits = logits.clone()
    for token, change in sampling.logit_bias.items():
        logits[token] += change
    if own and written:
        for token, times in Counter(history[-written:]).items():
            logits[token] -= sampling.presence_penalty + times * sampling.frequency_penalty
    if not recent or not history:
        return logits
    for token in history[-RECENT:]:
        logits[token] -= sampling.repeat_penalty
    logits[history[-1]] -= sampling.no_repeat_last_extra
    return logits
