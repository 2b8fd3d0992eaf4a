"""The living graph: activations that flow along weighted edges until they agree."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boggers.errors import UserError
from boggers.graph.sparse import DENSE, Adjacency

Floats = NDArray[np.float64]
Indices = NDArray[np.int32]
Listener = Callable[["LivingGraph", "Tick"], None]

DAMPING = 0.35
ACTIVATION = STABILITY = BASE = 0.5


@dataclass(frozen=True)
class Tick:
    """What one propagation did.

    Attributes:
        tick: its number, counted over the life of the graph.
        tension: T after it.
        moved: the largest change of an activation, max_i |Δa_i|.
    """

    tick: int
    tension: float
    moved: float


@dataclass(frozen=True)
class Node:
    """A node as it stands; a copy, so that changing it changes nothing.

    Attributes:
        activation: a, the one quantity that propagation moves; usually in [0, 1].
        stability: s in [0, 1], how firmly the node holds on to its base.
        base: b, where the node would rest if it were alone.
        attributes: whatever else is known of it.
    """

    name: str
    activation: float
    stability: float
    base: float
    attributes: dict[str, Any]


class LivingGraph:
    """Nodes with an activation, joined by weighted edges; a tick costs O(N + E).

        t_i = Σ_j w_ij a_j / Σ_j w_ij        a_i ← (1 - d) a_i + d t_i

    w_ij is the sum over all edges that join i and j in either direction, a loop counted once. A
    node whose weights do not sum to more than 0 stays as it is. The update is a lazy random walk
    (DeGroot, 1974): it conserves Σ_i deg_i a_i in every component and ends with one value in each.
    The original is TS-Core's `TSCore`; see `boggers.graph.tscore` for what only it has.

    Args:
        damping: d, clipped to [0, 1]; how far a tick goes towards the neighbours.
    """

    def __init__(self, damping: float = DAMPING) -> None:
        self.damping = float(np.clip(_finite("The damping", damping), 0.0, 1.0))
        self.tick = 0
        self.names: list[str] = []
        self.attributes: dict[int, dict[str, Any]] = {}
        self.listeners: list[Listener] = []
        self.structure = 0
        """Grows whenever nodes or edges do; tells a store what it has to write again."""
        self._index: dict[str, int] = {}
        self._columns = np.empty((3, 0))
        self._edges = Adjacency()
        self._dangling: list[tuple[str, str, float]] = []
        self._walk: tuple[tuple[int, float], Floats] | None = None

    @classmethod
    def from_arrays(
        cls,
        names: Iterable[str],
        activation: Floats,
        source: Indices,
        target: Indices,
        weight: Floats,
        *,
        stability: Floats | None = None,
        base: Floats | None = None,
        damping: float = DAMPING,
    ) -> "LivingGraph":
        """A graph of N nodes and E edges at once; what is left out is 0.5 for every node.

        Args:
            names: N different names.
            activation, stability, base: (N,).
            source, target, weight: (E,), edges between node numbers.

        Raises:
            UserError: lengths differ, names repeat, or an edge leads nowhere.
        """
        graph = cls(damping)
        graph.names = list(names)
        count = len(graph.names)
        graph._index = {name: number for number, name in enumerate(graph.names)}
        columns = [
            activation,
            *(np.full(count, 0.5) if c is None else c for c in (stability, base)),
        ]
        if len(graph._index) != count or any(len(column) != count for column in columns):
            raise UserError(
                f"Every node needs one name of its own and one number in each column; "
                f"{count} names, {len(graph._index)} of them different, and columns of "
                f"{', '.join(str(len(column)) for column in columns)} came."
            )
        graph._columns = np.array(columns, dtype=np.float64).reshape(3, count)
        ends = np.concatenate([source, target])
        if len(ends) and not 0 <= ends.min() <= ends.max() < count:
            raise UserError(f"Edges must join nodes 0 to {count - 1}; {ends.max()} came.")
        graph._edges.extend(source, target, weight, count)
        graph.structure += 1
        return graph

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    @property
    def activation(self) -> Floats:
        """a, (N,), in the order in which nodes were added; writing to it sets activations."""
        return self._columns[0, : len(self)]

    @property
    def stability(self) -> Floats:
        """s, (N,)."""
        return self._columns[1, : len(self)]

    @property
    def base(self) -> Floats:
        """b, (N,)."""
        return self._columns[2, : len(self)]

    @property
    def edge_arrays(self) -> tuple[Indices, Indices, Floats]:
        """Sources, targets and weights, (E,) each; edges that lead nowhere are not among them."""
        return self._edges.source, self._edges.target, self._edges.weight

    @property
    def degree(self) -> Floats:
        """Σ_j w_ij of every node, (N,)."""
        return self._edges.degree(len(self))

    @property
    def num_edges(self) -> int:
        """Edges, those that lead nowhere included."""
        return len(self._edges) + len(self._dangling)

    @property
    def dangling(self) -> tuple[tuple[str, str, float], ...]:
        """Edges that wait for an end that does not exist."""
        return tuple(self._dangling)

    def number(self, name: str) -> int:
        """The place of a node in the columns.

        Raises:
            UserError: there is no node of that name.
        """
        if name not in self._index:
            raise UserError(f"The graph has no node {name!r}; it has {len(self):,} others.")
        return self._index[name]

    def node(self, name: str) -> Node:
        """A node as it stands."""
        at = self.number(name)
        activation, stability, base = (float(value) for value in self._columns[:, at])
        return Node(name, activation, stability, base, dict(self.attributes.get(at, {})))

    def edges(self) -> Iterator[tuple[str, str, float]]:
        """Every edge by the names of its ends, those that lead nowhere last."""
        for source, target, weight in zip(*self.edge_arrays, strict=True):
            yield self.names[source], self.names[target], float(weight)
        yield from self._dangling

    def add_node(
        self,
        name: str,
        activation: float = ACTIVATION,
        stability: float = STABILITY,
        *,
        base: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a node, or put another in the place of the one of that name, its edges kept.

        Raises:
            UserError: a number is not finite.
        """
        values = [
            _finite(f"The activation of {name}", activation),
            _finite(f"The stability of {name}", stability),
            _finite(f"The base of {name}", activation if base is None else base),
        ]
        at = self._index.get(name)
        if at is None:
            at = len(self.names)
            if at == self._columns.shape[1]:
                grown = np.zeros((3, max(16, 2 * at)))
                grown[:, :at] = self._columns[:, :at]
                self._columns = grown
            self.names.append(name)
            self._index[name] = at
        self._columns[:, at] = values
        self.attributes.pop(at, None)
        if attributes:
            self.attributes[at] = dict(attributes)
        self.structure += 1
        if self._dangling:
            self._join_dangling()

    def add_edge(
        self, source: str, target: str, weight: float = 1.0, *, dangling: bool = False
    ) -> None:
        """Join two nodes, once more if they are joined already.

        Args:
            source, target: its ends; which is which does not matter to propagation.
            weight: how strongly each end feels the other; TS-Core allows any number.
            dangling: accept an end that does not exist (yet): until it does the edge is inert.

        Raises:
            UserError: an end does not exist, or the weight is not finite.
        """
        weight = _finite(f"The weight of {source}-{target}", weight)
        missing = [name for name in (source, target) if name not in self._index]
        self.structure += 1
        if not missing:
            self._edges.append(self._index[source], self._index[target], weight)
        elif dangling:
            self._dangling.append((source, target, weight))
        else:
            raise UserError(
                f"An edge joins two nodes that exist; {missing[0]!r} does not. Add it first."
            )

    def remove_edges(self, doomed: NDArray[np.bool_]) -> None:
        """Remove the edges that a mask (E,) over `edge_arrays` names."""
        self._edges.remove(doomed)
        self.structure += 1

    def neighbour_mean(self, activation: Floats | None = None) -> Floats:
        """t: what the neighbours of each node say on average; the node itself where none does."""
        values = self.activation if activation is None else activation
        return self._edges.mean(values)

    def propagate(self, damping: float | None = None) -> Tick:
        """One tick: every activation moves towards its neighbours', all at once.

        Args:
            damping: d of this tick instead of the graph's.
        """
        moved = self.step(damping)
        done = Tick(self.tick, self.tension(), moved)
        for listener in self.listeners:
            listener(self, done)
        return done

    def step(self, damping: float | None = None) -> float:
        """A tick whose tension nobody asks for and that no listener hears of; max_i |Δa_i|."""
        before = self.activation.copy()
        self.advance(damping)
        return largest_change(before, self.activation)

    def advance(self, damping: float | None = None) -> None:
        """A tick that is not measured at all."""
        activation = self.activation
        self.tick += 1
        if damping is None and (walk := self.walk()) is not None:
            activation[:] = np.dot(walk, activation)
            return
        share = self.damping if damping is None else min(max(damping, 0.0), 1.0)
        felt = self._edges.mean(activation)
        felt *= share
        activation *= 1.0 - share
        activation += felt

    def walk(self) -> Floats | None:
        """The matrix of a tick, (N, N), a ← walk · a; None where so large a one would not pay.

        Kept until an edge or a node comes or goes; not to be written to.
        """
        count = len(self)
        if count > DENSE:
            return None
        made_of = self.structure, self.damping
        if self._walk is None or self._walk[0] != made_of:
            walk = self.damping * self._edges.shares(count)
            walk.reshape(-1)[:: count + 1] += 1.0 - self.damping  # the diagonal
            self._walk = made_of, walk
        return self._walk[1]

    def tension(self) -> float:
        """T = √(mean_i (a_i - ā)²), how much all nodes differ; 0 without nodes, at most 0.5 on
        activations in [0, 1]. It knows no edges: two groups that never meet stay tense.
        """
        count = len(self)
        if not count:
            return 0.0
        apart = self.activation - np.add.reduce(self.activation) / count
        # Not a dot product: of long vectors BLAS makes that with threads that spin afterwards.
        return math.sqrt(float(np.add.reduce(np.square(apart, out=apart))) / count)

    def node_tension(self) -> Floats:
        """|t_i - a_i|, how far each node is from what its neighbours say, (N,); 0 everywhere once
        every component agrees.
        """
        return np.abs(self.neighbour_mean() - self.activation)

    def _join_dangling(self) -> None:
        waiting, self._dangling = self._dangling, []
        for source, target, weight in waiting:
            self.add_edge(source, target, weight, dangling=True)


def largest_change(before: Floats, after: Floats) -> float:
    """max_i |Δa_i|; 0 without nodes."""
    change = after - before
    return float(np.maximum.reduce(np.abs(change, out=change), initial=0.0))


def _finite(what: str, value: float) -> float:
    number = float(value)
    if not np.isfinite(number):
        raise UserError(f"{what} must be a finite number; it is {number}.")
    return number
