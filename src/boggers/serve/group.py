"""Texts that settle alike, and who they are."""

from collections.abc import Iterator, Sequence

from boggers.serve.flock import Flock, Place, Step
from boggers.serve.states import Saved
from boggers.serve.writing import Writing


class Group:
    """Writings, and the flock that carries them: the same text in the same row of both.

    Args:
        flock: of the model and the dials that they have in common; nobody is in it yet.
    """

    def __init__(self, flock: Flock) -> None:
        self._flock = flock
        self._writings: list[Writing] = []

    def __len__(self) -> int:
        return len(self._writings)

    def __iter__(self) -> Iterator[Writing]:
        """In the order of the rows."""
        return iter(self._writings)

    @property
    def measured(self) -> bool:
        """Whether anybody asked for the physics of every token."""
        return any(writing.ticket.job.measure for writing in self._writings)

    def add(self, writing: Writing, place: Place) -> None:
        """Another text, which stands there."""
        self._flock.add(place)
        self._writings.append(writing)

    def step(self, *, measure: bool) -> Step:
        """Read the latest token of every text."""
        return self._flock.step([writing.latest for writing in self._writings], measure=measure)

    def saved(self, row: int) -> Saved:
        """Where a text stands."""
        return self._writings[row].saved(self._flock.place(row))

    def drop(self, rows: Sequence[int]) -> None:
        """Go on without the texts of these rows."""
        gone = set(rows)
        kept = [row for row in range(len(self._writings)) if row not in gone]
        if gone and kept:
            self._flock.keep(kept)
        self._writings = [self._writings[row] for row in kept]
