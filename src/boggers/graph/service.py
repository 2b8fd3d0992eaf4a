"""A graph that many threads may ask: what a server's endpoints `/ts/…` answer."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from boggers.errors import UserError
from boggers.graph.living import LivingGraph
from boggers.graph.tscore import bootstrap

if TYPE_CHECKING:
    from boggers.graph.language import LanguageNode
    from boggers.graph.store import GraphStore

MAX_STEPS = 1000


@dataclass(frozen=True)
class Tension:
    """The answer to `GET /ts/tension`, its fields those of the original's JSON."""

    ts_tension: float
    tick: int
    evolve_count: int


@dataclass(frozen=True)
class Propagation:
    """The answer to `POST /ts/propagate`, its fields those of the original's JSON."""

    ts_tension: float
    icarus_line: str
    tick: int


class GraphService:
    """One living graph behind one lock; every answer is of one moment.

    Whoever asks for its tension while others let it tick gets the one before, and does not wait.

    Args:
        graph: the graph; TS-Core's four nodes if left out.
        language: the node by which a model's tension reaches the graph, if there is one.
        store: where every answer that changed the graph is kept, if anywhere.
    """

    def __init__(
        self,
        graph: LivingGraph | None = None,
        language: "LanguageNode | None" = None,
        store: "GraphStore | None" = None,
    ) -> None:
        if graph is None:
            graph = bootstrap() if language is None else language.graph
        self.graph = graph
        self.language = language
        self._store = store
        self._lock = threading.Lock()
        self._now = self._measured()

    @classmethod
    def open(cls, path: Path) -> "GraphService":
        """The graph kept in a database, with a language node; TS-Core's four nodes in a new one."""
        from boggers.graph.language import LanguageNode
        from boggers.graph.store import GraphStore
        from boggers.graph.webhook import webhook_from_environment

        store = GraphStore(path, durable=False)
        graph = bootstrap() if store.empty else store.load()
        if not store.empty:
            store.adopt(graph)
        return cls(graph, LanguageNode(graph, webhook=webhook_from_environment()), store)

    def close(self) -> None:
        """Close the database and the webhook, if there are any."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            if self.language is not None and self.language.webhook is not None:
                self.language.webhook.close()

    def tension(self) -> Tension:
        """T after the last change; changes nothing."""
        return self._now

    def propagate(self, steps: int = 1) -> Propagation:
        """Let the graph take ticks.

        Raises:
            UserError: `steps` is not in 1 … 1000.
        """
        if not 1 <= steps <= MAX_STEPS:
            raise UserError(f"Ticks must be 1 to {MAX_STEPS} at a time; {steps} came.")
        with self._lock:
            before = self.graph.tension()
            for _ in range(steps):
                tick = self.graph.propagate()
            self._keep()
            self._now = self._measured()
            way = (
                "falls" if tick.tension < before else "holds" if tick.tension == before else "rises"
            )
            line = f"tick {tick.tick}: tension {way} from {before:.6f} to {tick.tension:.6f}"
            return Propagation(tick.tension, line, tick.tick)

    def feel(self, tension: float) -> Tension:
        """Tell the graph how tense the model is; without a language node nothing is felt."""
        with self._lock:
            if self.language is not None:
                felt = self.language.feel(tension)
                if felt.fired:
                    self._keep(felt.language_tension, felt.evolved)
            self._now = self._measured()
            return self._now

    def snapshot(self, limit: int = 200) -> list[dict[str, float | str]]:
        """The `limit` most active nodes, for showing them: name, activation, stability, tension."""
        with self._lock:
            strain = self.graph.node_tension()
            order = self.graph.activation.argsort()[::-1][:limit]
            return [
                {
                    "name": self.graph.names[at],
                    "activation": float(self.graph.activation[at]),
                    "stability": float(self.graph.stability[at]),
                    "tension": float(strain[at]),
                }
                for at in order
            ]

    def _measured(self) -> Tension:
        count = 0 if self.language is None else self.language.evolve_count
        return Tension(self.graph.tension(), self.graph.tick, count)

    def _keep(self, language: float | None = None, evolved: int = 0) -> None:
        if self._store is not None:
            self._store.save(self.graph, language=language, evolved=evolved)
