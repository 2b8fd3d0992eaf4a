"""The numbers of a graph in SQLite: columns in blocks, of which only changed ones are written."""

import hashlib
import sqlite3

import numpy as np

BLOCK = 4096
"""Numbers of a block."""

SHORT = 1024
"""Bytes up to which a block is its own digest."""

TABLE = """
CREATE TABLE block (column TEXT, number INTEGER, data BLOB NOT NULL, PRIMARY KEY (column, number))
    WITHOUT ROWID;
"""

KINDS = {
    "activation": np.float64,
    "stability": np.float64,
    "base": np.float64,
    "source": np.int32,
    "target": np.int32,
    "weight": np.float64,
}


class Columns:
    """Columns by name, and what is known of their blocks in the database.

    Args:
        database: has the table of blocks before anything is read or written; whoever opened it
            begins and ends the transactions.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._digests: dict[tuple[str, int], bytes] = {}
        self._known: set[str] = set()

    def read(self, name: str) -> np.ndarray:
        """A whole column."""
        found = self._database.execute(
            "SELECT data FROM block WHERE column = ? ORDER BY number", (name,)
        )
        return np.frombuffer(b"".join(data for (data,) in found), KINDS[name])

    def write(self, name: str, values: np.ndarray) -> None:
        """Write the blocks of a column that are not as they were last written."""
        plain = np.ascontiguousarray(values, KINDS[name])
        count = -(-len(plain) // BLOCK)
        for number in range(count):
            data = plain[number * BLOCK : (number + 1) * BLOCK].tobytes()
            digest = _digest(data)
            if self._digests.get((name, number)) != digest:
                self._database.execute(
                    "INSERT OR REPLACE INTO block VALUES (?, ?, ?)", (name, number, data)
                )
                self._digests[name, number] = digest
        if (name, count) in self._digests or name not in self._known:
            self._database.execute(
                "DELETE FROM block WHERE column = ? AND number >= ?", (name, count)
            )
            kept = self._digests.items()
            self._digests = {k: v for k, v in kept if k[0] != name or k[1] < count}
            self._known.add(name)

    def adopt(self) -> None:
        """Take note of what is in the database."""
        for name, number, data in self._database.execute("SELECT * FROM block"):
            self._digests[name, number] = _digest(data)
        self._known = set(KINDS)

    def forget(self) -> None:
        """Know nothing of the database: write every column whole the next time."""
        self._digests, self._known = {}, set()


def _digest(data: bytes) -> bytes:
    """What tells this block from another; a short one tells that itself, and faster."""
    if len(data) <= SHORT:
        return data
    return hashlib.blake2b(data, digest_size=16).digest()
