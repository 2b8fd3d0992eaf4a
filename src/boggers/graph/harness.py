"""The wave cycle of an evaluation: a model's tensions, felt one after another, then 11 ticks."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from boggers.errors import UserError
from boggers.graph.cycle import CycleRule, WaveCycle
from boggers.graph.language import LanguageNode
from boggers.graph.stopping import run_until_stable
from boggers.graph.ticks import TICKS

LANGUAGE_THRESHOLD = 0.01
EVOLVE_THRESHOLD = 0.05


@dataclass(frozen=True)
class WaveCycleReport:
    """What the cycle found; names as in the original's JSON.

    Attributes:
        ts_tension_before, ts_tension_after: of the graph, before anything was felt and at the end.
        ts_ticks: ticks after the last batch; with the original's settings the absolute counter.
        mean_lang_tension: of the batches; None if there were none.
        evolve_count: nodes that grew.
        reason: why it stopped.
    """

    ts_tension_before: float
    ts_tension_after: float
    ts_ticks: int
    mean_lang_tension: float | None
    evolve_count: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def run_wave_cycle(
    node: LanguageNode, tensions: Sequence[float], max_ticks: int = TICKS
) -> WaveCycleReport:
    """Feel each tension, then let the graph take at most `max_ticks` more ticks.

    With `node.original` these are plain ticks, after which any graph agrees whatever the model
    said. Otherwise they are one whole wave cycle: stubborn nodes keep what they stand for, so that
    the tension afterwards still tells how tense the model was.

    Args:
        node: attached to the graph.
        tensions: of the batches, in order.
        max_ticks: at least 0.

    Raises:
        UserError: `max_ticks` is negative.
    """
    if max_ticks < 0:
        raise UserError(f"--max-ticks must be at least 0; it is {max_ticks}.")
    graph = node.graph
    before = graph.tension()
    for tension in tensions:
        node.feel(tension)
    evolved, begun = node.evolve_count, graph.tick
    if node.original:
        ended = run_until_stable(graph, max_ticks, criterion="tension")
        ticks, reason = ended.tick, ended.reason
        evolved = node.evolve_count
    elif max_ticks < 2:
        ended = run_until_stable(graph, max_ticks)
        ticks, reason = ended.ticks, ended.reason
    else:
        rule = CycleRule(relax_ticks=max_ticks - 1, break_gap=node.evolve_threshold)
        cycle = WaveCycle(rule).run_once(graph)
        evolved += len(cycle.evolved)
        ticks = graph.tick - begun
        reason = "at rest" if cycle.at_rest else "out of ticks"
    usable = [tension for tension in tensions if math.isfinite(tension)]
    mean = sum(usable) / len(usable) if usable else None
    return WaveCycleReport(before, graph.tension(), ticks, mean, evolved, reason)
