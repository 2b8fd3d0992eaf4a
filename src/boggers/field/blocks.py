"""A stretch of tokens in blocks, for what costs the square of the length of each."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Blocks:
    """A stretch of tokens as several of equal length, the last one filled up with nothing."""

    count: int
    length: int

    @classmethod
    def of(cls, places: int, most: int) -> "Blocks":
        """As few as can be, none longer than `most`."""
        count = math.ceil(places / most)
        return cls(count, math.ceil(places / count))

    def divide(self, rows: Tensor) -> Tensor:
        """(B, T, …) as (B · N, P, …)."""
        if self.count == 1:
            return rows
        lacking = self.count * self.length - rows.shape[1]
        filled = F.pad(rows, (0, 0) * (rows.ndim - 2) + (0, lacking))
        return filled.reshape(len(rows) * self.count, self.length, *rows.shape[2:])

    def join(self, rows: Tensor, places: int) -> Tensor:
        """(B · N, P, …) as (B, T, …)."""
        if self.count == 1:
            return rows
        return rows.reshape(-1, self.count * self.length, *rows.shape[2:])[:, :places]
