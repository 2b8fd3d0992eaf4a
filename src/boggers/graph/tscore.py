"""What TS-Core's `TSCore` does beyond propagation, under its own names and with its own numbers.

Compared to the original: nothing is written unless a store is asked to, evolving never overwrites
a node of the same second, and labels that only rename numbers (its "filters") are absent.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from boggers.graph.living import Floats, LivingGraph

PHASES = (
    "constraint_decomposition",
    "node_mapping",
    "system_simplification",
    "emergent_deduction",
    "recursive_validation",
    "universality",
    "visualization_metaphor",
    "extreme_detail",
)
"""Names that the original's history gives to its ticks in turn; they change no number."""

ROOT = "ts_native"
EVOLVED_PREFIX = "evolve_"

_BOOTSTRAP_NODES = (
    (ROOT, 0.90, 0.95),
    ("language_ritual", 0.35, 0.20),
    ("kernel_wave_12", 0.75, 0.85),
    ("persistent_wave", 0.88, 0.90),
)
_BOOTSTRAP_EDGES = (
    ("language_ritual", ROOT, 1.2),
    (ROOT, "kernel_wave_12", 1.0),
    ("persistent_wave", ROOT, 1.1),
)


@dataclass(frozen=True)
class StartUp:
    """What relaxing a copy of a fresh graph shows: T before and after, and that it did not rise."""

    tension_before: float
    tension_after_relax: float
    ok: bool


@dataclass(frozen=True)
class Quantum:
    """One quantum of the driven mode, see `wave12`."""

    strongest: str | None
    tension_before: float
    tension_after: float
    ok: bool


def bootstrap(damping: float = 0.35) -> LivingGraph:
    """The four nodes and three edges that TS-Core starts with; they agree at 0.7739393939393939."""
    graph = LivingGraph(damping)
    for name, activation, stability in _BOOTSTRAP_NODES:
        graph.add_node(name, activation, stability)
    for source, target, weight in _BOOTSTRAP_EDGES:
        graph.add_edge(source, target, weight)
    return graph


def phase(tick: int) -> str:
    """The name that the original's history gives to a tick."""
    return PHASES[(tick - 1) % len(PHASES)]


def startup_validation(graph: LivingGraph, max_ticks: int = 12, eps: float = 1e-6) -> StartUp:
    """Relax a copy for up to 12 ticks, or until T changes by less than `eps`."""
    trial = copy.deepcopy(graph)
    trial.listeners.clear()
    before = last = trial.tension()
    for _ in range(max_ticks):
        now = trial.propagate().tension
        if abs(last - now) < eps:
            break
        last = now
    after = trial.tension()
    return StartUp(before, after, after <= before + 1e-5)


def factory_evolve(graph: LivingGraph, now: int, *, overwrite: bool = False) -> str:
    """Add a node `evolve_<tick>_<now>` (a 0.55, s 0.60), joined to `ts_native` with weight 0.8.

    Nothing is selected or repaired; what T feels is one more sample at 0.55. The edge dangles
    while there is no `ts_native`.

    Args:
        graph: the graph to grow.
        now: seconds since 1970, part of the name.
        overwrite: reuse the node of the same tick and second, as the original does; otherwise a
            second one gets a name of its own.

    Returns:
        The node's name.
    """
    name = f"{EVOLVED_PREFIX}{graph.tick}_{now}"
    if not overwrite:
        number, first = 2, name
        while name in graph:
            name, number = f"{first}_{number}", number + 1
    graph.add_node(name, 0.55, 0.60)
    graph.add_edge(ROOT, name, 0.8, dangling=True)
    return name


def evolve_language_ritual(graph: LivingGraph) -> bool:
    """Raise the stability of `language_ritual` to 0.96; whether there is such a node."""
    return _strengthen(graph, "language_ritual", None, {"language_as_tool": True})


def evolve_kernel_wave12(graph: LivingGraph) -> bool:
    """Raise `kernel_wave_12` to stability 0.96 and activation 0.90."""
    return _strengthen(graph, "kernel_wave_12", 0.90, {"kernel_fireproof": True})


def evolve_persistent_wave(graph: LivingGraph) -> bool:
    """Raise `persistent_wave` to stability 0.96 and activation 0.90."""
    return _strengthen(graph, "persistent_wave", 0.90, {"persistent_fireproof": True})


def evolve_dynamic_node(graph: LivingGraph, name: str) -> bool:
    """Raise an evolved node to stability 0.96 and activation 0.85; others are left alone."""
    if not name.startswith(EVOLVED_PREFIX):
        return False
    return _strengthen(graph, name, 0.85, {"evolved": True})


def wave12(graph: LivingGraph) -> Quantum:
    """One quantum of TS-Core's driven mode: feed the strongest node, propagate five times.

    k = argmax a·s gets a + 0.035 and s + 0.01 (at most 1); then ticks with 1.12 d, d, d, d; nodes
    with s < 0.18 go to 0.65 a + 0.35 ā; a last tick with 0.85 d. It injects energy, so T may rise;
    `ok` says that it is finite and rose by at most 0.12. Counts as one tick.
    """
    before = graph.tension()
    if not len(graph):
        return Quantum(None, before, before, True)
    first = graph.tick
    strongest = int(np.argmax(graph.activation * graph.stability))
    graph.activation[strongest] = min(graph.activation[strongest] + 0.035, 1.0)
    graph.stability[strongest] = min(graph.stability[strongest] + 0.01, 1.0)
    for share in (min(1.12 * graph.damping, 1.0), *(graph.damping,) * 3):
        graph.step(share)
    _steady(graph.activation, graph.stability)
    graph.tick = first
    after = graph.propagate(0.85 * graph.damping).tension
    ok = bool(np.isfinite(after) and after <= before + 0.12)
    return Quantum(graph.names[strongest], before, after, ok)


def _steady(activation: Floats, stability: Floats) -> None:
    """Nodes that hardly hold go towards the mean."""
    weak = stability < 0.18
    mean = activation.mean()
    activation[weak] = np.clip(0.65 * activation[weak] + 0.35 * mean, 0.0, 1.0)


def _strengthen(
    graph: LivingGraph, name: str, activation: float | None, marks: Mapping[str, Any]
) -> bool:
    if name not in graph:
        return False
    at = graph.number(name)
    graph.stability[at] = max(graph.stability[at], 0.96)
    if activation is not None:
        graph.activation[at] = max(graph.activation[at], activation)
    graph.attributes.setdefault(at, {}).update(marks)
    graph.structure += 1
    return True
