"""The numbers of many files as one array, of which only so much is mapped into memory at a time."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAPPED_BYTES = 1 << 27
"""How much of an array may be mapped at once; what is mapped counts as memory once touched."""


@dataclass(frozen=True)
class Shard:
    """One file of an array: so many numbers of one width."""

    file: Path
    length: int
    dtype: str

    @property
    def n_bytes(self) -> int:
        """The size that the file must have."""
        return self.length * np.dtype(self.dtype).itemsize

    def opened(self) -> NDArray[Any]:
        """The numbers, mapped from the disk."""
        if self.length == 0:  # nothing can be mapped from an empty file
            return np.empty(0, dtype=self.dtype)
        return np.memmap(self.file, dtype=self.dtype, mode="r", shape=(self.length,))


class ShardedArray:
    """A one-dimensional array of n numbers over several files, read by position.

    It takes slices and arrays of positions and answers with arrays of its `dtype`. Files are
    mapped when they are needed; those not used for longest are let go beyond `MAPPED_BYTES`.
    Memory and the time to open it do not depend on n.

    Args:
        shards: the files, in order.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.dtype: np.dtype[Any] = np.result_type(*(shard.dtype for shard in shards))
        self._shards = tuple(shards)
        self._stops = np.array([*accumulate(shard.length for shard in shards)], dtype=np.int64)
        self._mapped: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._mapped_bytes = 0

    def __len__(self) -> int:
        return int(self._stops[-1])

    @property
    def shape(self) -> tuple[int]:
        """(n,)"""
        return (len(self),)

    def __getitem__(self, at: Any) -> Any:
        """The numbers of a slice, at an array of positions, or at one position."""
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                return self._gathered(np.arange(start, stop, step, dtype=np.int64))
            return self._stretch(start, stop)
        places = np.asarray(at, dtype=np.int64)
        found = self._gathered(places.reshape(-1)).reshape(places.shape)
        return found if places.ndim else found[()]

    def tolist(self) -> list[int]:
        """All numbers, in memory."""
        numbers: list[int] = self[:].tolist()
        return numbers

    def _stretch(self, start: int, stop: int) -> NDArray[Any]:
        found = np.empty(max(0, stop - start), dtype=self.dtype)
        at = start
        while at < stop:
            number = int(np.searchsorted(self._stops, at, side="right"))
            end = min(stop, int(self._stops[number]))
            begin = int(self._stops[number]) - self._shards[number].length
            found[at - start : end - start] = self._open(number)[at - begin : end - begin]
            at = end
        return found

    def _gathered(self, places: NDArray[np.int64]) -> NDArray[Any]:
        places = np.where(places < 0, places + len(self), places)
        if places.size and not (places.min() >= 0 and places.max() < len(self)):
            raise IndexError(f"a position lies outside an array of {len(self)} numbers")
        numbers = np.searchsorted(self._stops, places, side="right")
        order = np.argsort(numbers, kind="stable")
        used, firsts = np.unique(numbers[order], return_index=True)
        found = np.empty(places.size, dtype=self.dtype)
        for number, here in zip(used.tolist(), np.split(order, firsts[1:]), strict=True):
            begin = self._stops[number] - self._shards[number].length
            found[here] = self._open(number)[places[here] - begin]
        return found

    def _open(self, number: int) -> NDArray[Any]:
        if number in self._mapped:
            self._mapped.move_to_end(number)
            return self._mapped[number]
        shard = self._shards[number]
        while self._mapped and self._mapped_bytes + shard.n_bytes > MAPPED_BYTES:
            oldest, _ = self._mapped.popitem(last=False)
            self._mapped_bytes -= self._shards[oldest].n_bytes
        self._mapped[number] = shard.opened()
        self._mapped_bytes += shard.n_bytes
        return self._mapped[number]


def total(numbers: Any, start: int, stop: int, stretch: int = 1 << 22) -> int:
    """The sum of numbers[start:stop], a stretch at a time."""
    return sum(
        int(numbers[at : min(at + stretch, stop)].sum(dtype=np.int64))
        for at in range(start, stop, stretch)
    )
