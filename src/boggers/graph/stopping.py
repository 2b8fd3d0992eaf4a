"""When a graph is stable, and why one stopped looking."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from boggers.errors import UserError
from boggers.graph.living import LivingGraph

Reason = Literal["at rest", "tension unchanged", "swinging", "out of ticks"]
Criterion = Literal["activation", "tension"]

MAX_TICKS = 64
REST = 1e-5


@dataclass(frozen=True)
class Stability:
    """How a run towards stability ended.

    Attributes:
        reason: at rest (no activation moved by as much as `rest`), tension unchanged (TS-Core's
            criterion), swinging (each tick undoes the one before), or out of ticks.
        ticks: ticks of this run.
        tick: the graph's own counter after it, which is what TS-Core returns.
        tension: T at the end.
        moved: the largest change of an activation in the last tick.
    """

    reason: Reason
    ticks: int
    tick: int
    tension: float
    moved: float

    @property
    def stable(self) -> bool:
        """Whether it came to rest by the criterion it was given."""
        return self.reason in ("at rest", "tension unchanged")


def run_until_stable(
    graph: LivingGraph,
    max_ticks: int = MAX_TICKS,
    rest: float = REST,
    criterion: Criterion = "activation",
) -> Stability:
    """Propagate until nothing moves any more.

    TS-Core stops as soon as T changes by less than `rest` (criterion "tension"). T does not change
    while two nodes swap their activations for ever, nor when opposite changes cancel, so by default
    the activations themselves must rest: max_i |Δa_i| < rest. A graph that swings between two
    states (d = 1 on a graph of two sides) is recognised and reported as such.

    Args:
        graph: what propagates.
        max_ticks: at most so many ticks, at least 0.
        rest: what counts as no change, at least 0.
        criterion: what must change by less than that.

    Raises:
        UserError: a limit is negative.
    """
    if max_ticks < 0 or not rest >= 0:
        raise UserError(
            f"The ticks and the change that counts as rest must be at least 0; {max_ticks} and "
            f"{rest} came."
        )
    last, moved = float("inf"), 0.0
    earlier = graph.activation.copy()
    for done in range(1, max_ticks + 1):
        before = graph.activation.copy()
        tick = graph.propagate()
        moved = tick.moved
        if criterion == "tension":
            if abs(last - tick.tension) < rest:
                return _ended("tension unchanged", graph, done, tick.tension, moved)
        elif moved < rest:
            return _ended("at rest", graph, done, tick.tension, moved)
        elif done > 1 and _returned(graph, earlier, rest):
            return _ended("swinging", graph, done, tick.tension, moved)
        last, earlier = tick.tension, before
    return _ended("out of ticks", graph, max_ticks, graph.tension(), moved)


def _returned(graph: LivingGraph, earlier: np.ndarray, rest: float) -> bool:
    """Whether the activations are those of two ticks ago, although the tick between moved them."""
    if len(earlier) != len(graph):
        return False
    # A slow oscillation that still dies out returns almost, not to the last digits.
    limit = min(rest, 1e-12)
    return bool(np.abs(graph.activation - earlier).max(initial=0.0) <= limit)


def _ended(
    reason: Reason, graph: LivingGraph, ticks: int, tension: float, moved: float
) -> Stability:
    return Stability(reason, ticks, graph.tick, tension, moved)
