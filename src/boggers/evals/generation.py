"""What a run writes, over many samples: variety, repetition, names, and text known by heart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boggers.evals.bootstrap import Interval, mean
from boggers.evals.overlap import shared_spans
from boggers.infer.engine import Engine
from boggers.infer.sampling import Sampling
from boggers.model.window import WindowModel
from boggers.probe.places import spread

SAMPLES = 32
LENGTH = 120
"""Tokens of a sample."""

PROMPT = 32
"""Tokens that a sample is prompted with; at least a window."""

AT_ONCE = 32
BY_HEART = 20
"""Tokens in a row, found in the training text, that count as known by heart."""

DRAWING = Sampling(temperature=0.8, top_p=0.95)
ORDERS = (1, 2, 3, 4)
NAME = re.compile(r"(?<![.!?…:;\"'“”‘’(\n] )(?<!\n)\b([A-Z][a-zà-ÿ]{2,})\b")


@dataclass(frozen=True)
class Writing:
    """Figures of some texts, means over texts with intervals.

    Attributes:
        distinct: by n, different word n-grams as a share of all.
        distinct_4grams_per_token: different word 4-grams per word.
        bigram_repetition_rate: share of word bigrams that repeat an earlier one of the text.
        entity_consistency: of the names in the second half of a text, the share that its prompt or
            its first half had named before; names are capitalised words inside a sentence. Over
            the texts that name anyone; None if none does.
        by_heart: share of the tokens that lie in spans of at least 20 tokens of the training text.
        longest_by_heart: tokens of the longest such span; 0 without any.
    """

    distinct: dict[str, Interval]
    distinct_4grams_per_token: Interval
    bigram_repetition_rate: Interval
    entity_consistency: Interval | None
    by_heart: Interval
    longest_by_heart: int


@dataclass(frozen=True)
class Generation:
    """What a run wrote at `samples` places of the held-out text, and what stood there.

    Attributes:
        written: of the run's continuations.
        truth: of the text's own, as long: what honest writing scores here.
        examples: the first continuations, each with its prompt.
    """

    samples: int
    tokens: int
    prompt_tokens: int
    written: Writing
    truth: Writing
    examples: list[tuple[str, str]]


def sample(
    engine: Engine,
    trained: NDArray[Any],
    ids: NDArray[Any],
    start: int,
    stop: int,
    *,
    samples: int = SAMPLES,
) -> Generation | None:
    """Let a run continue places of ids[start:stop], evenly spread, at temperature 0.8, top-p 0.95.

    Args:
        engine: the run.
        trained: ids of its training text.
        ids: the text that prompts come from.
        samples: how many, at most; fewer in a short text, None if not even one fits.
    """
    prompt = PROMPT
    if isinstance(engine.model, WindowModel):
        prompt = max(PROMPT, engine.model.config.window_size)
    at = spread(start, stop - prompt - LENGTH, samples) if stop - start > prompt + LENGTH else []
    if not at:
        return None
    prompts = [ids[place : place + prompt].astype(int).tolist() for place in at]
    written: list[list[int]] = []
    for first in range(0, len(at), AT_ONCE):
        some = prompts[first : first + AT_ONCE]
        seeds = list(range(first, first + len(some)))
        rows = engine.generate_ids(some, max_tokens=LENGTH, sampling=DRAWING, seeds=seeds)
        written += [row[prompt:] for row in rows]
    truth = [ids[p + prompt : p + prompt + LENGTH].astype(int).tolist() for p in at]
    decode = engine.tokenizer.decode
    return Generation(
        samples=len(at),
        tokens=LENGTH,
        prompt_tokens=prompt,
        written=_judge(engine, prompts, written, trained),
        truth=_judge(engine, prompts, truth, trained),
        examples=[(decode(prompts[i]), decode(written[i])) for i in range(min(3, len(at)))],
    )


def distinct(words: Sequence[str], order: int) -> float:
    """Different n-grams as a share of all; 1 where the text is too short to have two."""
    grams = _grams(words, order)
    return len(set(grams)) / len(grams) if grams else 1.0


def entity_consistency(prompt: str, text: str) -> float | None:
    """The share of names in a text's second half that were named before; None without names."""
    words = re.finditer(r"\S+", text)
    places = [match.start() for match in words]
    middle = places[len(places) // 2] if places else 0
    before = set(NAME.findall(prompt)) | set(NAME.findall(text[:middle]))
    later = NAME.findall(text[middle:])
    return sum(name in before for name in later) / len(later) if later else None


def _judge(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[Sequence[int]],
    trained: NDArray[Any],
) -> Writing:
    decoded = [engine.tokenizer.decode(list(text)) for text in texts]
    words = [text.split() for text in decoded]
    spans = shared_spans(trained, [np.array(text) for text in texts], BY_HEART)
    named = [
        entity_consistency(engine.tokenizer.decode(list(prompt)), text)
        for prompt, text in zip(prompts, decoded, strict=True)
    ]
    consistent = [value for value in named if value is not None]
    return Writing(
        distinct={str(n): _over([distinct(text, n) for text in words]) for n in ORDERS},
        distinct_4grams_per_token=_over(
            [len(set(_grams(text, 4))) / max(1, len(text)) for text in words]
        ),
        bigram_repetition_rate=_over([1 - distinct(text, 2) for text in words]),
        entity_consistency=_over(consistent) if consistent else None,
        by_heart=_over(
            [sum(map(len, found)) / len(text) for found, text in zip(spans, texts, strict=True)]
        ),
        longest_by_heart=max((len(span) for found in spans for span in found), default=0),
    )


def _over(values: Sequence[float]) -> Interval:
    return mean(np.array(values), block=1)


def _grams(words: Sequence[str], order: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]
