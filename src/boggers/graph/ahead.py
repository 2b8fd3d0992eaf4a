"""Several ticks of a small graph in one product."""

import numpy as np

from boggers.graph.living import Floats


class Ahead:
    """The next states of a graph each of whose ticks is one matrix, a ← M a + c.

        a_k = M^k a + (1 + M + … + M^(k-1)) c          k = 0 … n

    A tick of a few nodes costs nothing but calls; so n of them are one call.

    Args:
        motion: M, (N, N).
        ticks: n ≥ 1.
    """

    def __init__(self, motion: Floats, ticks: int) -> None:
        count = len(motion)
        unit = np.eye(count)
        powers, sums = [unit], [np.zeros((count, count))]
        for _ in range(ticks):
            sums.append(sums[-1] @ motion + unit)
            powers.append(powers[-1] @ motion)
        self._both = np.hstack([np.vstack(powers), np.vstack(sums)])

    def states(self, activation: Floats, towards: Floats) -> Floats:
        """a_0 … a_n, (n + 1, N).

        Args:
            activation: a, (N,).
            towards: c, (N,).
        """
        states: Floats = self._both @ np.concatenate([activation, towards])
        return states.reshape(-1, len(activation))
