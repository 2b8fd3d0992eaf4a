"""The sequences of a run: cut anew in every epoch, in an order that the seed alone fixes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boggers.data.permutation import Permutation
from boggers.data.windows import Batch
from boggers.errors import UserError

OFFSET = 1
"""Sets the draw of an epoch's offset apart from its order, which has the key (seed, epoch)."""


@dataclass(frozen=True)
class Sequences:
    """Stretches of T + 1 tokens, T apart, between two positions of a text.

    Epoch e cuts at start + offset(e), start + offset(e) + T, …; the offset, 0 ≤ offset < T, and
    the order of the stretches are pure functions of seed and epoch. All epochs have equally many
    stretches, so that the g-th of a run is found without those before it.

    Attributes:
        ids: all tokens of the text, 1-D, usually on the disk.
        start: the first token that may be used.
        stop: one past the last.
        length: T.

    Raises:
        UserError: there are fewer than 2 T tokens.
    """

    ids: NDArray[Any]
    start: int
    stop: int
    length: int

    def __post_init__(self) -> None:
        if len(self) < 1:
            raise UserError(
                f"--sequence-length {self.length} needs at least {2 * self.length} training "
                f"tokens; there are {self.stop - self.start}. Use a longer text or shorter "
                "sequences."
            )

    def __len__(self) -> int:
        """Stretches of an epoch, whatever its offset."""
        return (self.stop - self.start - self.length) // self.length

    def batch(self, seed: int, index: int, size: int) -> Tensor:
        """Batch `index` of a run, counted from 0, as int64 (size, T + 1); epochs run on."""
        numbers = np.arange(index * size, (index + 1) * size, dtype=np.int64)
        starts = np.empty_like(numbers)
        for epoch in np.unique(numbers // len(self)).tolist():
            here = numbers // len(self) == epoch
            starts[here] = self._starts(seed, epoch, numbers[here] - epoch * len(self))
        return self._at(starts)

    def epoch_batch(
        self, seed: int, epoch: int, index: int, size: int, rows: slice = slice(None)
    ) -> Batch:
        """Batch `index` of one epoch: contexts (B, T) and, one token on, their targets (B, T).

        An epoch's batches hold every one of its stretches exactly once; the last has what is left.
        Of the batch only `rows` are read and returned, all unless given.

        Raises:
            IndexError: the epoch has no such batch.
        """
        places = np.arange(index * size, min((index + 1) * size, len(self)), dtype=np.int64)
        if index < 0 or len(places) == 0:
            raise IndexError(f"an epoch has no batch {index} of {size} sequences")
        tokens = self._at(self._starts(seed, epoch, places[rows]))
        return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())

    def _starts(self, seed: int, epoch: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the stretches at these places of an epoch's order begin."""
        order = Permutation.of(len(self), seed, epoch)
        starts: NDArray[np.int64] = (
            self.start + self._offset(seed, epoch) + order(places) * self.length
        )
        return starts

    def _at(self, starts: NDArray[np.int64]) -> Tensor:
        spans = starts[:, None] + np.arange(self.length + 1)
        return torch.from_numpy(np.asarray(self.ids[spans], dtype=np.int64))

    def _offset(self, seed: int, epoch: int) -> int:
        return int(Permutation.of(self.length, seed, epoch, OFFSET)(np.zeros(1, np.int64))[0])
