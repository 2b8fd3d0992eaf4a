"""Texts of one sentence or record a line: no window reaches from one line into another."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from boggers.data.permutation import Permutation
from boggers.data.reading import SEPARATOR, Piece
from boggers.data.split import Split
from boggers.data.windows import Batch, Windows
from boggers.errors import UserError

LINE_SEED = 42
BLOCK = 3
"""Sets the draws of a block's order apart from the others that have the key (seed, epoch)."""


def read_lines(path: Path) -> Iterator[Piece]:
    """The lines of a file as documents, in an order that a fixed seed gives.

    Lines are stripped; blank ones, those that begin with # and separators of documents are dropped.

    Raises:
        UserError: the path is no file, is not UTF-8 text, or holds no line.
    """
    if not path.is_file():
        raise UserError(
            f"--no-streaming-dataset reads the lines of one file; {path} is none. Give a file with "
            "--corpus, or leave it out."
        )
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} must be UTF-8 text, but byte {error.start} is not. Convert it to UTF-8."
        ) from error
    kept = [line for line in found if line and line != SEPARATOR and line[0] != "#"]
    if not kept:
        raise UserError(f"{path} holds no line of text. Use another --corpus.")
    random.Random(LINE_SEED).shuffle(kept)
    return (Piece(line, begins_document=True) for line in kept)


@dataclass(frozen=True)
class LineWindows(Windows):
    """Every stretch of W tokens with the token after it that lies within one line.

    An epoch has each of them `copies` times. Its order is shuffled within blocks of `buffer`
    windows that follow one another; within the whole epoch where there is no buffer.

    Attributes:
        firsts: (L,) where each line of more than W tokens begins.
        before: (L + 1,) windows in the lines before each.
        copies: at least 1.
        buffer: windows of a block, or None.
    """

    firsts: NDArray[np.int64]
    before: NDArray[np.int64]
    copies: int = 1
    buffer: int | None = None

    def __len__(self) -> int:
        return self.distinct * self.copies

    @property
    def distinct(self) -> int:
        """Different windows, of which an epoch has each `copies` times."""
        return int(self.before[-1])

    def order(self, seed: int, epoch: int) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:  # type: ignore[override]
        """Which window stands at which place of an epoch."""
        if self.buffer is None:
            return Permutation.of(len(self), seed, epoch)
        buffer = self.buffer

        def within_blocks(places: NDArray[np.int64]) -> NDArray[np.int64]:
            found = places.copy()
            for block in np.unique(places // buffer).tolist():
                here = places // buffer == block
                size = min(buffer, len(self) - block * buffer)
                order = Permutation.of(size, seed, epoch, BLOCK, block)
                found[here] = block * buffer + order(places[here] - block * buffer)
            return found

        return within_blocks

    def at(self, numbers: NDArray[np.int64]) -> Batch:
        """The windows of these numbers, counted line after line."""
        once = numbers % self.distinct
        line = np.searchsorted(self.before, once, side="right") - 1
        places = self.firsts[line] + once - self.before[line]
        return replace(super().at(places - self.start), numbers=torch.from_numpy(once))


def cut_lines(
    ids: NDArray[Any],
    byte_lengths: NDArray[Any],
    val_fraction: float,
    window: int,
    *,
    copies: int,
    buffer: int | None,
) -> tuple[Split, LineWindows]:
    """Hold out the last max(1, ⌊n f⌋) of the n lines; train on the windows within the others.

    Args:
        ids: all tokens, lines parted by tokens that stand for no bytes.
        byte_lengths: what each token stands for.
        val_fraction: f, 0 ≤ f < 1; 0 holds out nothing.
        window: W.
        copies, buffer: see `LineWindows`.

    Raises:
        UserError: no line is longer than W tokens.
    """
    text = np.flatnonzero(np.asarray(byte_lengths) > 0)
    breaks = np.flatnonzero(np.diff(text) > 1) + 1
    firsts = text[np.concatenate([[0], breaks])] if len(text) else text
    lasts = text[np.concatenate([breaks - 1, [len(text) - 1]])] if len(text) else text
    count = len(firsts)
    held = min(count - 1, max(1, int(count * val_fraction))) if val_fraction > 0 else 0
    stop = int(firsts[count - held]) if held else len(ids)
    lengths = (lasts - firsts + 1)[: count - held]
    usable = lengths > window
    if not usable.any():
        raise UserError(
            f"--no-streaming-dataset needs a line of more than {window} tokens to train on; the "
            f"longest has {int(lengths.max(initial=0))}. Use a smaller --window-size."
        )
    before = np.concatenate([[0], np.cumsum(lengths[usable] - window)]).astype(np.int64)
    held_out = range(stop, len(ids))
    parts = Split(
        n_tokens=len(ids),
        window=window,
        train=range(stop),
        held_out=held_out,
        requested=val_fraction,
        effective=len(held_out) / len(ids),
        reliable=len(held_out) - window >= Split.minimum_windows,
    )
    rows = LineWindows(ids, 0, stop, window, firsts[: count - held][usable], before, copies, buffer)
    return parts, rows
