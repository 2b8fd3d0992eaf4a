"""A large sparse matrix in blocks of rows, so that every core has a block of its own.

Of many nodes the activations outgrow a core's cache: row by row, every entry reads one at a random
place and waits. There the entries of a block stand in the order of their columns: activations are
read in order, and what is written at random places is the block's few sums, which the cache holds
(cache blocking: Nishtala, Vuduc, Demmel, Yelick, 2007). Every sum is added up in the same order as
row by row, so that it is the same to the bit.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROWS = 65_536
"""Rows of a block: half a mebibyte of sums."""

CACHED = 131_072
"""Values that a core's cache holds, a mebibyte: up to so many, rows are as good as columns."""


class RowBlocks:
    """A square matrix, made of one in compressed rows whose columns are in order.

    Args:
        matrix: SciPy's, (N, N), N at least 2.
        rows: about how many a block has, at most. It has fewer where there are threads for more
            blocks, and more where the matrix holds so little that to read all values once a block
            would cost more than the entries do.
    """

    def __init__(self, matrix: Any, rows: int = ROWS) -> None:
        self.shape: tuple[int, int] = matrix.shape
        count = self.shape[0]
        wanted = max(-(-count // rows), torch.get_num_threads())
        blocks = max(1, min(wanted, matrix.nnz // count, count // 2))
        ends = np.linspace(0, count, blocks + 1).astype(int).tolist()
        self._rows = [slice(start, end) for start, end in pairwise(ends)]
        self._parts = [matrix[rows] for rows in self._rows]
        if count > CACHED:
            self._parts = [part.tocsc().tocoo(copy=False) for part in self._parts]

    def __matmul__(self, values: Floats) -> Floats:
        """W v, (N,), by as many threads as torch may use."""
        sums = np.empty(self.shape[0])

        def fill(rows: slice, part: Any) -> None:
            sums[rows] = part @ values

        threads = min(torch.get_num_threads(), len(self._parts))
        if threads == 1:
            for rows, part in zip(self._rows, self._parts, strict=True):
                fill(rows, part)
            return sums
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(fill, self._rows, self._parts):
                pass
        return sums
