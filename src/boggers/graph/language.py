"""The node by which a language model's tension reaches the graph."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boggers.errors import UserError
from boggers.graph.cycle import CycleRule, WaveCycle
from boggers.graph.living import LivingGraph, Tick
from boggers.graph.tscore import ROOT, factory_evolve
from boggers.graph.webhook import Webhook

NAME = "llm_substrate"
LANGUAGE_THRESHOLD = 0.10
EVOLVE_THRESHOLD = 0.15
QUICK = CycleRule(relax_ticks=8, rest=1e-3)
"""The cycle of one batch: short, because the next batch goes on from it."""


@dataclass(frozen=True)
class Felt:
    """What one batch did to the graph.

    Attributes:
        language_tension: what the model reported, after clamping; None where nothing usable came.
        graph_tension: T after the batch's ticks and before anything new grew; the last known one
            where the batch was below the threshold.
        activation: of the language node afterwards.
        fired: whether the graph was moved at all.
        evolved: nodes that grew.
    """

    language_tension: float | None
    graph_tension: float
    activation: float
    fired: bool
    evolved: int


@dataclass(frozen=True)
class Counts:
    """What the node has felt since an epoch began (or ever): batches, those that fired, growth."""

    batches: int = 0
    fired: int = 0
    evolved: int = 0
    unusable: int = 0

    def plus(self, felt: Felt) -> "Counts":
        """With one more batch."""
        return Counts(
            self.batches + 1,
            self.fired + felt.fired,
            self.evolved + felt.evolved,
            self.unusable + (felt.language_tension is None),
        )


class LanguageNode:
    """Attaches a model to a graph: each batch's tension x becomes the node `llm_substrate`.

    By default the node is stubborn (stability 1, base x), so the graph's tension keeps saying how
    tense the model is and not only how its tension changes; every batch runs one quick
    `WaveCycle`, whose Break and Evolve act where the strain is.

    With `original=True` it does what TS-Core's bridge did, oddities included: the activation is
    min(1, x) (NaN and +∞ become 1), one plain tick follows, T tells only of recent change, and
    `factory_evolve` adds a node whenever T exceeds the threshold.

    Args:
        graph: gets the node, and an edge of weight 1 to `ts_native`, unless it has them.
        language_threshold: batches of less tension are not felt; x equal to it is.
        evolve_threshold: original: T above which a node is added. Default cycle: the gap across an
            edge at rest above which the edge breaks and a node grows in it.
        original: reproduce TS-Core.
        attach: False for a graph that goes on where it was interrupted.
        auto_attach: (original) evolve after any tick of the graph as well.
        webhook: told {lang_tension, ts_tension, evolve: true} whenever something grew in a batch.
        clock: seconds since 1970, for the names of `factory_evolve`.

    Raises:
        UserError: a threshold is not a number.
    """

    def __init__(
        self,
        graph: LivingGraph,
        *,
        language_threshold: float = LANGUAGE_THRESHOLD,
        evolve_threshold: float = EVOLVE_THRESHOLD,
        original: bool = False,
        attach: bool = True,
        auto_attach: bool = False,
        webhook: Webhook | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        for name, value in (("language", language_threshold), ("evolve", evolve_threshold)):
            if not math.isfinite(value):
                raise UserError(f"The {name} threshold must be a finite number; it is {value}.")
        self.graph = graph
        self.language_threshold = language_threshold
        self.evolve_threshold = evolve_threshold
        self.original = original
        self.webhook = webhook
        self.total = self.epoch = Counts()
        self.last_ts_tension = 0.0
        self._clock = clock
        self._added = 0
        if not original:
            if evolve_threshold <= 0.0:
                raise UserError(f"The evolve threshold must be above 0; it is {evolve_threshold}.")
            rule = CycleRule(
                relax_ticks=QUICK.relax_ticks, rest=QUICK.rest, break_gap=evolve_threshold
            )
            self._cycle = WaveCycle(rule)
        if attach or NAME not in graph:
            self.attach()
        if auto_attach:
            graph.listeners.append(self._after_any_tick)

    @property
    def evolve_count(self) -> int:
        """Nodes that grew through this object, however they did."""
        return self.total.evolved + self._added

    def attach(self) -> None:
        """Put the node and its edge into the graph, unless they are there already.

        The original joins another parallel edge at every opening of a saved graph, so that its
        influence grew with the number of past sessions; it still does with `original=True`.
        """
        if NAME not in self.graph:
            self.graph.add_node(NAME, 0.5, 0.5)
        joined = any({NAME, ROOT} == {s, t} for s, t, _ in self.graph.edges())
        grown = any(NAME in (s, t) for s, t, _ in self.graph.edges())
        if self.original or not (joined or grown):
            self.graph.add_edge(ROOT, NAME, 1.0, dangling=True)

    def on_batch(self, curve: Sequence[float] | None) -> Felt:
        """Feel the last value of a tension curve; nothing where there is none."""
        return self.feel(float(curve[-1]) if curve is not None and len(curve) else None)

    def feel(self, tension: float | None) -> Felt:
        """Feel one batch's tension and let the graph answer.

        Without `original` a tension that is not finite is counted as unusable and not felt, and
        others are clamped to [0, 1].
        """
        felt = self._original(tension) if self.original else self._living(tension)
        self.total, self.epoch = self.total.plus(felt), self.epoch.plus(felt)
        self.last_ts_tension = felt.graph_tension
        if felt.evolved and self.webhook is not None and felt.language_tension is not None:
            event = {"lang_tension": felt.language_tension, "ts_tension": felt.graph_tension}
            self.webhook.tell({**event, "evolve": True})
        return felt

    def new_epoch(self) -> Counts:
        """The counts of the epoch that ends here; a new one begins."""
        ended, self.epoch = self.epoch, Counts()
        return ended

    def complaint(self) -> str | None:
        """What to tell a person if this node never moved anything, although batches came."""
        if self.total.fired or not self.total.batches:
            return None
        return (
            f"The graph never felt the model: of {self.total.batches:,} tensions none reached the "
            f"language threshold {self.language_threshold:g}. Lower it to let them through."
        )

    def _original(self, tension: float | None) -> Felt:
        if tension is None or tension < self.language_threshold:
            return self._idle(tension)
        at = self.graph.number(NAME)
        # The order of the arguments decides that NaN becomes 1.
        self.graph.activation[at] = min(1.0, tension)
        felt = float(self.graph.activation[at])
        now = self.graph.propagate().tension
        evolved = 0
        if now > self.evolve_threshold:
            factory_evolve(self.graph, int(self._clock()), overwrite=True)
            evolved = 1
        return Felt(felt, now, float(self.graph.activation[at]), True, evolved)

    def _living(self, tension: float | None) -> Felt:
        if tension is None or not math.isfinite(tension):
            return self._idle(None)
        if tension < self.language_threshold:
            return self._idle(tension)
        at, value = self.graph.number(NAME), min(1.0, max(0.0, tension))
        self.graph.activation[at] = self.graph.base[at] = value
        self.graph.stability[at] = 1.0
        cycle = self._cycle.run_once(self.graph)
        return Felt(
            value,
            cycle.stages[1].tension,
            float(self.graph.activation[at]),
            True,
            len(cycle.evolved),
        )

    def _idle(self, tension: float | None) -> Felt:
        activation = float(self.graph.activation[self.graph.number(NAME)])
        return Felt(tension, self.last_ts_tension, activation, False, 0)

    def _after_any_tick(self, graph: LivingGraph, tick: Tick) -> None:
        if tick.tension > self.evolve_threshold:
            factory_evolve(graph, int(self._clock()), overwrite=True)
            self._added += 1
