"""W tokens and the one after them, in an order that depends on the seed and the epoch alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boggers.data.permutation import Permutation
from boggers.errors import UserError


@dataclass(frozen=True)
class Batch:
    """Windows, or sequences, that are seen together.

    Attributes:
        contexts: int64 (B, W), the tokens of each window; (B, T) of each sequence.
        targets: int64 (B,), the token after each window; (B, T), after each token of a sequence.
        numbers: int64 (B,), which windows these are, in the order of the text; None of sequences.
        states: (B, W, D), what the windows are to be led to, if anything.
    """

    contexts: Tensor
    targets: Tensor
    numbers: Tensor | None = None
    states: Tensor | None = None


@dataclass(frozen=True)
class Windows:
    """Every stretch of W tokens with the token after it, between two positions of a text.

    Nothing is copied or listed: any batch of any epoch is computed from its number, so a run
    continues in the middle of an epoch at no cost.

    Attributes:
        ids: all tokens of the text, 1-D, usually on the disk.
        start: the first token that may be used.
        stop: one past the last.
        window: W.

    Raises:
        UserError: there is not one window between the positions.
    """

    ids: NDArray[Any]
    start: int
    stop: int
    window: int

    def __post_init__(self) -> None:
        if len(self) < 1:
            raise UserError(
                f"--window-size {self.window} needs at least {self.window + 1} training tokens; "
                f"there are {max(0, self.stop - self.start)}. Use a longer text or a smaller "
                "--window-size."
            )

    def __len__(self) -> int:
        return max(0, self.stop - self.start - self.window)

    @property
    def distinct(self) -> int:
        """Different windows; an epoch may have each several times."""
        return len(self)

    def order(self, seed: int, epoch: int) -> Permutation:
        """Which window stands at which place of an epoch."""
        return Permutation.of(len(self), seed, epoch)

    def batches(self, size: int) -> int:
        """Batches of an epoch; the last may be smaller than `size`."""
        return -(-len(self) // size)

    def batch(
        self, seed: int, epoch: int, index: int, size: int, rows: slice = slice(None)
    ) -> Batch:
        """Batch `index` of an epoch; an epoch's batches hold every window exactly once.

        Args:
            seed: with `epoch`, fixes the order.
            epoch: counted from 0.
            index: the batch, 0 ≤ index < batches(size).
            size: B; the last batch of an epoch has what is left.
            rows: which rows of the batch; all unless given. Nothing of the others is read.

        Raises:
            IndexError: the epoch has no such batch.
        """
        if not 0 <= index < self.batches(size):
            raise IndexError(f"an epoch has no batch {index} of {size} windows")
        share = range(len(self))[index * size : (index + 1) * size][rows]
        places = np.arange(share.start, share.stop, dtype=np.int64)
        return self.at(self.order(seed, epoch)(places))

    def at(self, numbers: NDArray[np.int64]) -> Batch:
        """The windows of these numbers, counted from 0 in the order of the text."""
        spans = self.start + numbers[:, None] + np.arange(self.window + 1)
        tokens = torch.from_numpy(np.asarray(self.ids[spans], dtype=np.int64))
        return Batch(
            tokens[:, :-1].contiguous(), tokens[:, -1].contiguous(), torch.from_numpy(numbers)
        )
