"""What the server asks of a living graph; which graph that is, whoever starts the server says."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class GraphTension(Protocol):
    """How tense a graph is."""

    @property
    def ts_tension(self) -> float:
        """Of the whole graph."""

    @property
    def tick(self) -> int:
        """Ticks it has taken."""

    @property
    def evolve_count(self) -> int:
        """How often it has grown."""


class GraphPropagation(Protocol):
    """What some ticks came to."""

    @property
    def ts_tension(self) -> float:
        """Afterwards."""

    @property
    def icarus_line(self) -> str:
        """In a sentence."""

    @property
    def tick(self) -> int:
        """Ticks it has taken."""


class Graph(Protocol):
    """A living graph that many threads may ask."""

    def tension(self) -> GraphTension:
        """How tense it is; changes nothing and never waits."""

    def propagate(self, steps: int = 1) -> GraphPropagation:
        """Let it take ticks."""

    def feel(self, tension: float) -> GraphTension:
        """Tell it how tense the model is."""

    def snapshot(self, limit: int = 200) -> Sequence[Mapping[str, float | str]]:
        """Its most active nodes: name, activation, stability, tension."""
