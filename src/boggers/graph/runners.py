"""The two earlier runners of Propagate → Relax → Break → Evolve, with the semantics they had.

The names `run_wave` and `WaveCycleRunner` are theirs; the default cycle of this project is
`boggers.graph.cycle.WaveCycle`. Here edges have a direction, `base` is what they call the base
strength, and a node's attributes may hold `collapsed`, `last_wave`, `content`, `topics`, `type` and
`embedding`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from boggers.errors import UserError
from boggers.graph.living import Floats, LivingGraph

SPREAD_DAMPING = 0.95
SILENT = 0.05
SEMANTIC = 0.3
TENSION_THRESHOLDS = {"conversation": 0.15, "insight": 0.25, "emergent": 0.30, "autonomous": 0.20}
ANTONYMS = (("good", "bad"), ("true", "false"), ("up", "down"), ("rise", "fall"), ("safe", "risky"))


@dataclass(frozen=True)
class NodeTension:
    """A node that is tense, by how much, and for which reasons."""

    name: str
    tension: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Wave:
    """What one `run_wave` did."""

    strongest: str | None
    tensions: tuple[NodeTension, ...]
    collapsed: str | None
    evolved: tuple[str, ...]


@dataclass(frozen=True)
class RunnerCycle:
    """What one cycle of `WaveCycleRunner` did; `skipped` says which guard refused it, if any."""

    cycle: int
    tension: float
    nodes: int
    pruned: int
    emergent: int
    skipped: str | None = None


def spread(
    graph: LivingGraph,
    adjacency: tuple[np.ndarray, np.ndarray, np.ndarray],
    share: float,
    *,
    silent_below: float = 0.0,
) -> list[int]:
    """Propagate along out-edges: a_j ← clip(a_j + Σ_{i→j} a_i w_ij · share · 0.95, 0, 1).

    Where both ends have embeddings, 0.3 times their cosine is added to the weight. Collapsed nodes
    neither send nor receive.

    Returns:
        The nodes that received something, in the order in which they first did.
    """
    source, target, weight = adjacency
    collapsed = _collapsed(graph)
    sends = (graph.activation >= silent_below) & ~collapsed
    used = sends[source] & ~collapsed[target]
    source, target, weight = source[used], target[used], weight[used]
    flow = graph.activation[source] * (weight + _likeness(graph, source, target))
    gained = np.bincount(target, flow, len(graph)) * share * SPREAD_DAMPING
    graph.activation[:] = np.clip(graph.activation + gained, 0.0, 1.0)
    order = target[np.argsort(source, kind="stable")]
    return list(dict.fromkeys(order.tolist()))


def relax_to_base(graph: LivingGraph, decay: float = 0.85) -> None:
    """Relax: a ← clip(b + 0.85 (a - b), 0, 1)."""
    base = graph.base
    graph.activation[:] = np.clip(base + decay * (graph.activation - base), 0.0, 1.0)


def prune(graph: LivingGraph, threshold: float = 0.25) -> int:
    """Break: drop every edge of a weight below the threshold; how many there were."""
    weak = graph.edge_arrays[2] < threshold
    if weak.any():
        graph.remove_edges(weak)
    return int(weak.sum())


def base_tension(graph: LivingGraph) -> Floats:
    """|a - b| of every node where it exceeds the threshold of the node's type, else 0."""
    gap = np.abs(graph.activation - graph.base)
    limit = np.full(len(graph), 0.20)
    for at, known in graph.attributes.items():
        limit[at] = TENSION_THRESHOLDS.get(str(known.get("type")), 0.20)
    return np.where(gap > limit, gap, 0.0)


def emerge(graph: LivingGraph, tensions: Floats, most: int = 2) -> list[str]:
    """Evolve: beside each of the most tense nodes a node `emergent:<name>`, unless it has one."""
    born = []
    for at in np.argsort(-tensions, kind="stable")[:most]:
        name = f"emergent:{graph.names[at]}"
        if tensions[at] <= 0.0 or name in graph:
            continue
        activation = min(1.0, 0.3 + 0.2 * float(tensions[at]))
        graph.add_node(name, activation, 0.7, base=0.6, attributes={"type": "emergent"})
        graph.add_edge(graph.names[at], name, 0.3)
        born.append(name)
    return born


def run_wave(
    graph: LivingGraph,
    *,
    break_threshold: float = 0.6,
    antonyms: Sequence[tuple[str, str]] = ANTONYMS,
) -> Wave:
    """Propagate (0.2), measure, collapse the least stable tense node if Σ tension ≥ 0.6, evolve.

    The strongest node that is left counts one more wave in its `last_wave`.

    Args:
        graph: changed in place.
        break_threshold: the sum of tensions from which a node collapses.
        antonyms: words that contradict each other in nodes of a common topic.
    """
    touched = spread(graph, graph.edge_arrays, 0.2, silent_below=SILENT)
    tensions = tuple(each for each in (_wave_tension(graph, at) for at in touched) if each)
    _settle_contradictions(graph, antonyms)
    collapsed: str | None = None
    evolved: tuple[str, ...] = ()
    if tensions and sum(each.tension for each in tensions) >= break_threshold:
        collapsed = min(tensions, key=lambda each: graph.node(each.name).stability).name
        _collapse(graph, collapsed)
        evolved = (_child(graph, collapsed),)
    strongest = _strongest(graph)
    if strongest is not None:
        known = graph.attributes.setdefault(graph.number(strongest), {})
        known["last_wave"] = known.get("last_wave", 0) + 1
        graph.structure += 1
    return Wave(strongest, tensions, collapsed, evolved)


@dataclass
class WaveCycleRunner:
    """Propagate → relax → prune → tensions → emergence, behind three guards.

    Edges that emerge carry signal from the second cycle after their birth, because propagation
    reads the adjacency as it was at the last pruning.

    Attributes:
        graph: changed in place.
        max_nodes: more live nodes than this are not run.
        max_tension: a cycle is skipped while the last tension is at least this. The original's
            value never falls again by itself, so its runner pauses for ever; `resume` lifts it.
        cycle, last_tension: how far it is.
    """

    graph: LivingGraph
    max_nodes: int = 10_000
    max_tension: float = 0.95
    cycle: int = 0
    last_tension: float = 0.0
    _adjacency: tuple[np.ndarray, np.ndarray, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self._adjacency = self._copy()

    def run_single_cycle(self) -> RunnerCycle:
        """One cycle, or the reason why none was run."""
        graph = self.graph
        reason = self._refusal()
        if reason is not None:
            return RunnerCycle(self.cycle, self.last_tension, len(graph), 0, 0, reason)
        self.cycle += 1
        spread(graph, self._adjacency, 0.1)
        relax_to_base(graph)
        pruned = prune(graph)
        self._adjacency = self._copy()
        tensions = base_tension(graph)
        self.last_tension = float(tensions.max(initial=0.0))
        born = emerge(graph, tensions)
        return RunnerCycle(self.cycle, self.last_tension, len(graph), pruned, len(born))

    def resume(self) -> None:
        """Forget the last tension, so that a runner that it had paused goes on."""
        self.last_tension = 0.0

    def _refusal(self) -> str | None:
        if len(self.graph) > self.max_nodes:
            return f"more than {self.max_nodes:,} nodes"
        if self.last_tension >= self.max_tension:
            return f"the last tension was {self.last_tension:.3f}"
        return None

    def _copy(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        source, target, weight = self.graph.edge_arrays
        return source.copy(), target.copy(), weight.copy()


def _likeness(graph: LivingGraph, source: np.ndarray, target: np.ndarray) -> Floats:
    """0.3 cos(e_i, e_j) of every edge whose ends both have an embedding."""
    known = {
        at: np.asarray(seen["embedding"], float)
        for at, seen in graph.attributes.items()
        if seen.get("embedding") is not None
    }
    likeness = np.zeros(len(source))
    if not known:
        return likeness
    for place, (i, j) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        if i in known and j in known:
            if known[i].shape != known[j].shape:
                raise UserError(
                    f"Embeddings of joined nodes must have one length; {graph.names[i]!r} and "
                    f"{graph.names[j]!r} have {known[i].shape} and {known[j].shape}."
                )
            length = np.linalg.norm(known[i]) * np.linalg.norm(known[j])
            likeness[place] = SEMANTIC * (known[i] @ known[j]) / length if length else 0.0
    return likeness


def _collapsed(graph: LivingGraph) -> np.ndarray:
    gone = np.zeros(len(graph), bool)
    for at, known in graph.attributes.items():
        gone[at] = bool(known.get("collapsed"))
    return gone


def _wave_tension(graph: LivingGraph, at: int) -> NodeTension | None:
    """Overflow, a lack of stability, and the distance from the base, added up."""
    activation, stability = float(graph.activation[at]), float(graph.stability[at])
    kind = str(graph.attributes.get(at, {}).get("type"))
    gap = abs(activation - float(graph.base[at]))
    parts = {
        "activation_too_high": max(0.0, activation - 1.0),
        "stability_too_low": max(0.0, 0.2 - stability),
        "rules_engine_tension": gap if gap > TENSION_THRESHOLDS.get(kind, 0.20) else 0.0,
    }
    reasons = tuple(reason for reason, value in parts.items() if value > 0.0)
    return NodeTension(graph.names[at], sum(parts.values()), reasons) if reasons else None


def _settle_contradictions(graph: LivingGraph, antonyms: Sequence[tuple[str, str]]) -> None:
    """Of two active nodes of a common topic that say opposite things, halve the less stable."""
    said = [
        (at, set(str(known["content"]).lower().split()), set(known.get("topics") or ()))
        for at, known in graph.attributes.items()
        if known.get("content") and not known.get("collapsed")
    ]
    for place, (i, words, topics) in enumerate(said):
        for j, others, their_topics in said[place + 1 :]:
            opposed = any(
                (one in words and two in others) or (two in words and one in others)
                for one, two in antonyms
            )
            if opposed and topics & their_topics and min(graph.activation[[i, j]]) > 0.5:
                loser = i if graph.stability[i] <= graph.stability[j] else j
                graph.activation[loser] *= 0.5


def _collapse(graph: LivingGraph, name: str) -> None:
    at = graph.number(name)
    graph.activation[at] = graph.stability[at] = 0.0
    graph.attributes.setdefault(at, {})["collapsed"] = True
    graph.structure += 1


def _child(graph: LivingGraph, parent: str) -> str:
    name = f"{parent}:evolved"
    waves = graph.node(parent).attributes.get("last_wave", 0) + 1
    graph.add_node(name, 0.2, 0.8, base=0.5, attributes={"last_wave": waves})
    graph.add_edge(parent, name, 0.1)
    return name


def _strongest(graph: LivingGraph) -> str | None:
    """argmax of (a·b, s) over the nodes that have not collapsed."""
    live = np.flatnonzero(~_collapsed(graph))
    if not len(live):
        return None
    score = graph.activation * graph.base
    return graph.names[max(live.tolist(), key=lambda at: (score[at], graph.stability[at]))]
