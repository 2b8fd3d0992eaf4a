"""Edges as a sparse matrix that grows: a product costs O(N + E), an added edge almost nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boggers.errors import UserError

try:
    from scipy.sparse import coo_array
except ImportError as error:
    raise UserError(
        "The living graph needs SciPy. Install it with: pip install 'boggers[graph]'"
    ) from error

Floats = NDArray[np.float64]
Indices = NDArray[np.int32]

LOOSE = 1 / 16
"""Share of the edges that may stay outside the matrix before it is made anew."""

DENSE = 64
"""Up to so many nodes a mean is one dense product: finding what is not 0 would cost more."""

SMALL = 4096
"""Up to so many edges the matrix is made anew at once, so that results never depend on history."""

LARGE = 1 << 22
"""From so many entries on, 48 MiB, the matrix is kept in blocks: it comes from memory at every
product, and a second core halves the wait. Below, a product takes a few milliseconds at most, and
the other cores are left to others."""


class Adjacency:
    """A multiset of edges and the symmetric matrix W that they add up to.

    Edges since the last compression are kept apart, so that a graph that grows by an edge a tick
    is not sorted anew at every tick.
    """

    def __init__(self) -> None:
        self._source = np.empty(0, np.int32)
        self._target = np.empty(0, np.int32)
        self._weight = np.empty(0)
        self._count = 0
        self._compressed = 0
        self._matrix: Any = None
        self._shares: Floats | None = None
        self._degree = np.empty(0)
        self._alone: tuple[NDArray[np.bool_], NDArray[np.bool_] | None] | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def source(self) -> Indices:
        """First ends, (E,)."""
        return self._source[: self._count]

    @property
    def target(self) -> Indices:
        """Second ends, (E,)."""
        return self._target[: self._count]

    @property
    def weight(self) -> Floats:
        """Weights, (E,)."""
        return self._weight[: self._count]

    def append(self, source: int, target: int, weight: float) -> None:
        """Add one edge."""
        if self._count == len(self._weight):
            room = max(16, 2 * self._count)
            self._source = np.resize(self._source, room)
            self._target = np.resize(self._target, room)
            self._weight = np.resize(self._weight, room)
        at = self._count
        self._source[at], self._target[at], self._weight[at] = source, target, weight
        self._count += 1
        self._alone = self._shares = None
        self._make_room(max(source, target) + 1)
        self._degree[source] += weight
        if source != target:
            self._degree[target] += weight

    def extend(self, source: Indices, target: Indices, weight: Floats, nodes: int) -> None:
        """Add many edges between `nodes` nodes."""
        self._source = np.concatenate([self.source, source]).astype(np.int32, copy=False)
        self._target = np.concatenate([self.target, target]).astype(np.int32, copy=False)
        self._weight = np.concatenate([self.weight, weight]).astype(np.float64, copy=False)
        self._count = len(self._weight)
        self._recount(nodes)

    def remove(self, doomed: NDArray[np.bool_]) -> None:
        """Remove the edges that a mask (E,) names."""
        kept = ~doomed
        self._source, self._target = self.source[kept], self.target[kept]
        self._weight = self.weight[kept]
        self._count = len(self._weight)
        self._recount(len(self._degree))

    def degree(self, nodes: int) -> Floats:
        """Σ_j w_ij, (nodes,)."""
        self._make_room(nodes)
        return self._degree[:nodes]

    def mean(self, values: Floats) -> Floats:
        """Σ_j w_ij v_j / Σ_j w_ij, (N,); v_i itself where the weights do not sum above 0."""
        if len(values) <= DENSE:
            return self.shares(len(values)) @ values
        felt = self._product(values)
        degree = self.degree(len(values))
        if self._alone is None or len(self._alone[0]) != len(values):
            feels = degree > 0.0
            self._alone = feels, None if feels.all() else ~feels
        feels, alone = self._alone
        if alone is None:
            felt /= degree
        else:
            np.divide(felt, degree, out=felt, where=feels)
            np.copyto(felt, values, where=alone)
        return felt

    def shares(self, nodes: int) -> Floats:
        """w_ij / Σ_j w_ij, (nodes, nodes); a one on the diagonal where the sum is not above 0.

        For at most `DENSE` nodes; kept until an edge comes or goes.
        """
        if self._shares is None or len(self._shares) != nodes:
            rows, columns, values = self._both_ways()
            made = np.zeros((nodes, nodes))
            np.add.at(made, (rows, columns), values)
            self._sum_degrees(nodes)  # in the order of the edges, however they came
            feels = self._degree > 0.0
            made[~feels] = np.eye(nodes)[~feels]
            made[feels] /= self._degree[feels, None]
            self._shares = made
        return self._shares

    def _product(self, values: Floats) -> Floats:
        """W v."""
        loose = self._count - self._compressed
        limit = LOOSE * self._compressed if self._count > SMALL else 0
        if self._matrix is None or loose > limit:
            self._compress(len(values))
        size = self._matrix.shape[0]
        felt: Floats = self._matrix @ values[:size]
        if size < len(values):
            felt = np.concatenate([felt, np.zeros(len(values) - size)])
        if self._compressed < self._count:
            new = slice(self._compressed, self._count)
            source, target, weight = self._source[new], self._target[new], self._weight[new]
            np.add.at(felt, source, weight * values[target])
            apart = source != target
            np.add.at(felt, target[apart], weight[apart] * values[source[apart]])
        return felt

    def _compress(self, nodes: int) -> None:
        rows, columns, values = self._both_ways()
        matrix = coo_array((values, (rows, columns)), shape=(nodes, nodes)).tocsr()
        if matrix.nnz >= LARGE:
            from boggers.graph.blocks import RowBlocks  # torch, for its threads; seconds to import

            matrix = RowBlocks(matrix)
        self._matrix = matrix
        self._compressed = self._count
        self._sum_degrees(nodes)  # in the order of the edges, however they came

    def _both_ways(self) -> tuple[Indices, Indices, Floats]:
        """Rows, columns and values of W: every edge and its mirror image, a loop once."""
        source, target, weight = self.source, self.target, self.weight
        apart = source != target
        return (
            np.concatenate([source, target[apart]]),
            np.concatenate([target, source[apart]]),
            np.concatenate([weight, weight[apart]]),
        )

    def _recount(self, nodes: int) -> None:
        """Degrees anew, and the matrix at the next product."""
        self._sum_degrees(nodes)
        self._matrix, self._shares, self._compressed = None, None, 0

    def _sum_degrees(self, nodes: int) -> None:
        source, target, weight = self.source, self.target, self.weight
        apart = source != target
        degree: Floats = np.zeros(nodes)
        degree += np.bincount(source, weight, nodes)
        degree += np.bincount(target[apart], weight[apart], nodes)
        self._degree, self._alone = degree, None

    def _make_room(self, nodes: int) -> None:
        if nodes > len(self._degree):
            grown = np.zeros(max(nodes, 2 * len(self._degree)))
            grown[: len(self._degree)] = self._degree
            self._degree = grown
