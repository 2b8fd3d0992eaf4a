"""Training windows in an order that is a function of seed and epoch, at any place at once."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDS = 6
MIX = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ divided by the golden ratio, the usual odd multiplier of multiplicative hashing."""


@dataclass(frozen=True)
class Batch:
    """Contexts (B, W) and the token that follows each, (B,); both int64."""

    contexts: Tensor
    targets: Tensor


class Windows:
    """All windows of W tokens that have a next token, between two positions of a corpus.

    Args:
        ids: the corpus, 1-D.
        start, stop: the part that windows are taken from.
        window: W.
        rank, world: this process sees every `world`-th window of an epoch, from `rank` on.
    """

    def __init__(
        self, ids: NDArray[Any], start: int, stop: int, window: int, rank: int = 0, world: int = 1
    ) -> None:
        self.ids = ids
        self.start = start
        self.total = max(0, stop - start - window)
        self.window = window
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        return len(range(self.rank, self.total, self.world))

    def batch(self, seed: int, epoch: int, index: int, size: int) -> Batch:
        """Batch `index` of an epoch, `size` windows or what is left; every window comes once."""
        first = index * size
        places = np.arange(first, min(first + size, len(self)), dtype=np.uint64)
        order = permute(
            places * np.uint64(self.world) + np.uint64(self.rank), self.total, seed, epoch
        )
        offsets = np.arange(self.window + 1)
        rows = self.ids[self.start + order.astype(np.int64)[:, None] + offsets].astype(np.int64)
        taken = torch.from_numpy(rows)
        return Batch(contexts=taken[:, :-1].contiguous(), targets=taken[:, -1].contiguous())


def permute(places: NDArray[np.uint64], total: int, seed: int, epoch: int) -> NDArray[np.uint64]:
    """Where a seeded permutation of range(total) sends `places`, without storing it.

    A Feistel network permutes the next power of four; a result outside range(total) is sent through
    again until it falls inside (cycle walking, Black & Rogaway 2002), which keeps it a bijection.
    """
    half = np.uint64(max(1, ((max(1, total - 1)).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    digest = hashlib.sha256(f"{seed}|{epoch}".encode()).digest()
    keys = np.frombuffer(digest + hashlib.sha256(digest).digest(), dtype=np.uint64)[:ROUNDS]
    found = _feistel(places, half, mask, keys)
    outside = found >= total
    while outside.any():
        found[outside] = _feistel(found[outside], half, mask, keys)
        outside = found >= total
    return found


def _feistel(
    values: NDArray[np.uint64], half: np.uint64, mask: np.uint64, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    left, right = values >> half, values & mask
    for key in keys:
        mixed = (right ^ key) * MIX
        mixed ^= mixed >> np.uint64(29)
        mixed *= MIX
        left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
    return (left << half) | right
