"""Spans that two texts share word for word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
OFFSET = np.uint64(0x632BE59BD9B4E019)
PIECE = 1 << 22
"""Tokens of the larger text that are looked at together."""

Ids = NDArray[Any]


@dataclass(frozen=True)
class Span:
    """ids[start:stop], all of it found in the other text."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def shared_spans(trained: Ids, texts: Sequence[Ids], length: int) -> list[list[Span]]:
    """For each text its longest stretches of which every n tokens in a row stand in another text.

    A stretch of n tokens is known by a polynomial of its ids modulo 2⁶⁴; that two different ones
    agree is as likely as their number squared over 2⁶⁴. The other text is gone through piece by
    piece, so it may be much larger than memory.

    Args:
        trained: the other text, 1-D.
        texts: what is looked up.
        length: n, at least 1.
    """
    wanted = [_hashes(text, length) for text in texts]
    known = np.unique(np.concatenate([*wanted, np.zeros(0, dtype=np.uint64)]))
    found = np.zeros(len(known), dtype=np.bool_)
    for first in range(0, max(0, len(trained) - length + 1), PIECE):
        piece = np.unique(_hashes(trained[first : first + PIECE + length - 1], length))
        found |= np.isin(known, piece, assume_unique=True)
    present = known[found]
    return [_spans(np.isin(hashes, present), length) for hashes in wanted]


def _spans(hit: NDArray[np.bool_], length: int) -> list[Span]:
    padded = np.concatenate([[False], hit, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [
        Span(int(first), int(last) + length - 1)
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]


def covered(spans: list[Span], count: int) -> NDArray[np.bool_]:
    """Which of `count` tokens lie in a span."""
    inside = np.zeros(count, dtype=np.bool_)
    for span in spans:
        inside[span.start : span.stop] = True
    return inside


def _hashes(ids: Ids, length: int) -> NDArray[np.uint64]:
    """The hash of every stretch of n tokens, (len(ids) - n + 1,)."""
    count = len(ids) - length + 1
    if count < 1:
        return np.zeros(0, dtype=np.uint64)
    # Ids are spread over all bits first, so that small ones do not make small polynomials.
    spread = (ids.astype(np.uint64) + np.uint64(1)) * OFFSET
    spread ^= spread >> np.uint64(29)
    found = np.zeros(count, dtype=np.uint64)
    for place in range(length):
        found = found * MULTIPLIER + spread[place : place + count]
    return found
