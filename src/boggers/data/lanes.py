"""A text read side by side: B lanes, each a long stretch, T tokens further at every step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from boggers.data.permutation import Permutation
from boggers.data.windows import Batch
from boggers.errors import UserError

OFFSET = 2
"""Sets the draw of an epoch's offset apart from the orders of windows and sequences."""


@dataclass(frozen=True)
class Lanes:
    """B stretches of equal length that follow one another between two positions of a text.

    Step i of an epoch reads tokens i·T to (i+1)·T of every lane, so what a row carries over from
    the step before is its own past. Where the lanes begin shifts from epoch to epoch by a pure
    function of the seed, over the tokens that do not fill a step (fewer than B·T + 1); an epoch
    holds every other token exactly once.

    Attributes:
        ids: all tokens of the text, 1-D, usually on the disk.
        start: the first token that may be used.
        stop: one past the last.
        length: T.
        lanes: B.

    Raises:
        UserError: there are fewer than B·T + 1 tokens.
    """

    ids: NDArray[Any]
    start: int
    stop: int
    length: int
    lanes: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(
                f"{self.lanes} lanes of --sequence-length {self.length} need at least "
                f"{self.lanes * self.length + 1} training tokens; there are "
                f"{self.stop - self.start}. Use a longer text, a smaller --batch-size or shorter "
                "sequences."
            )

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return (self.stop - self.start - 1) // (self.lanes * self.length)

    def __len__(self) -> int:
        """Stretches of T tokens in an epoch, over all lanes."""
        return self.steps * self.lanes

    def epoch_batch(
        self, seed: int, epoch: int, index: int, size: int, rows: slice = slice(None)
    ) -> Batch:
        """Step `index` of one epoch: contexts (B, T) and, one token on, their targets (B, T).

        Of the lanes only `rows` are read and returned, all unless given.

        Raises:
            IndexError: the epoch has no such step, or `size` is not the number of lanes.
        """
        if not 0 <= index < self.steps or size != self.lanes:
            raise IndexError(f"an epoch has no step {index} of {size} lanes")
        spare = self.stop - self.start - self.steps * self.lanes * self.length
        shift = int(Permutation.of(spare, seed, epoch, OFFSET)(np.zeros(1, np.int64))[0])
        firsts = self.start + shift + np.arange(self.lanes)[rows] * self.steps * self.length
        spans = (firsts + index * self.length)[:, None] + np.arange(self.length + 1)
        tokens = torch.from_numpy(np.asarray(self.ids[spans], dtype=np.int64))
        return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
