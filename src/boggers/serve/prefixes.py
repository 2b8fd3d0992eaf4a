"""Beginnings of prompts that have been read already."""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from boggers.serve.apart import apart
from boggers.serve.flock import Place

CHUNK = 128
"""Tokens that are read at once. Prompts are cut at its multiples whatever is known of them, so a
text that goes on from a known beginning has the same bits as one that is read whole."""


@dataclass(frozen=True)
class Entry:
    """Where a text stands after a beginning, and the memory that takes."""

    place: Place
    nbytes: int


class PrefixCache:
    """Places after beginnings of prompts; the least recently used go first.

    Args:
        max_bytes: what all of them may take together; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()

    def longest(self, key: Hashable, ids: Sequence[int]) -> tuple[int, Place | None]:
        """The longest known beginning of these ids: how many, and where a text stands then."""
        found: tuple[int, Place | None] = (0, None)
        for length, digest in beginnings(ids):
            entry = self._entries.get((key, digest))
            if entry is not None:
                self._entries.move_to_end((key, digest))
                found = (length, entry.place)
        return found

    def keep(self, key: Hashable, digest: bytes, place: Place, nbytes: int) -> None:
        """Remember where a text stands after the beginning of that digest."""
        name = (key, digest)
        # What an entry takes beside its numbers: a digest, a few Python objects, tensor headers.
        cost = nbytes + 2_000
        if name in self._entries or cost > self.max_bytes:
            return
        self._entries[name] = Entry(apart(place), cost)
        self.nbytes += cost
        while self.nbytes > self.max_bytes:
            _, gone = self._entries.popitem(last=False)
            self.nbytes -= gone.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.nbytes = 0


def beginnings(ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The lengths at which these ids are cut, and a digest of all before each."""
    running = hashlib.sha256()
    for first in range(0, len(ids), CHUNK):
        piece = ids[first : first + CHUNK]
        running.update(np.asarray(piece, dtype=np.int64).tobytes())
        yield first + len(piece), running.digest()
