"""A shuffled order of n things that is computed, not stored.

A Feistel network over Z_a × Z_b (Black & Rogaway 2002), a·b just above n, whose rounds add a keyed
hash of one half to the other: a bijection of range(a·b) whatever the hash. Results outside range(n)
are sent through again until they fall inside ("cycle walking"), which makes it one of range(n).
"""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
_Words = NDArray[np.uint64]

ROUNDS = 8


@dataclass(frozen=True)
class Permutation:
    """The order of range(n) that belongs to a key; it takes no memory, however large n is.

    Attributes:
        n: how many things are ordered.
        keys: one 64-bit number a round.
    """

    n: int
    keys: tuple[int, ...]

    @classmethod
    def of(cls, n: int, *key: int) -> "Permutation":
        """The order of range(n) that the numbers in `key` fix."""
        return cls(n, _round_keys(key))

    def __call__(self, places: Positions) -> Positions:
        """What stands at each of these places, 0 ≤ place < n; same shape."""
        found = self._once(places.reshape(-1).astype(np.uint64))
        outside = np.flatnonzero(found >= self.n)
        while outside.size > 0:
            found[outside] = self._once(found[outside])
            outside = outside[found[outside] >= self.n]
        return found.astype(np.int64).reshape(places.shape)

    def _once(self, places: _Words) -> _Words:
        """The bijection of range(a·b), a = ⌈√n⌉, b = ⌈n / a⌉; so a·b < n + a."""
        a = np.uint64(max(1, math.isqrt(max(self.n - 1, 0)) + 1))
        b = np.uint64(max(1, -(-self.n // int(a))))
        high, low = places // b, places % b
        for number, key in enumerate(self.keys):
            if number % 2 == 0:
                high = (high + _hash(low, key) % a) % a
            else:
                low = (low + _hash(high, key) % b) % b
        return high * b + low


def _hash(values: _Words, key: int) -> _Words:
    """A 64-bit mix of values and key: xor, multiply, shift (the finaliser of SplitMix64)."""
    mixed = values ^ np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@lru_cache(maxsize=16)
def _round_keys(key: tuple[int, ...]) -> tuple[int, ...]:
    name = "/".join(map(str, key)).encode("ascii")
    material = hashlib.shake_256(name).digest(8 * ROUNDS)
    return tuple(int.from_bytes(material[8 * i : 8 * i + 8], "big") for i in range(ROUNDS))
