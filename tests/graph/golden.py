"""The numbers of the systems that the graph comes from."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from boggers.graph.living import LivingGraph

FOLDER = Path(__file__).parent.parent / "golden"


def golden(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def close(ours: Any, expected: Any, tolerance: float = 1e-12) -> bool:
    ours, expected = np.asarray(ours, float), np.asarray(expected, float)
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    return ours.shape == expected.shape and bool(
        np.abs(ours - expected).max(initial=0.0) <= tolerance * scale
    )


def built(case: dict[str, Any]) -> LivingGraph:
    """A graph from a case of `tscore_propagate.json`."""
    graph = LivingGraph(case["damping"])
    for name, activation, stability in case["nodes"]:
        graph.add_node(name, activation, stability)
    for source, target, weight in case["edges"]:
        graph.add_edge(source, target, weight, dangling=True)
    return graph


def same_activations(graph: LivingGraph, expected: dict[str, float]) -> bool:
    """Whether every node is there, in order, with its activation; evolved ones by their tick."""
    names = [canonical(name) for name in graph.names]
    return names == list(expected) and close(graph.activation, list(expected.values()))


def canonical(name: str) -> str:
    """`evolve_3_1700000000` as the files write it."""
    if not name.startswith("evolve_") or name.count("_") < 2:
        return name
    return f"{name.rpartition('_')[0]}_<unix>"
