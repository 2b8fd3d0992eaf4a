"""Graphs from and to other programs: TS-Core's factory JSON, GraphML, and node-link JSON."""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from boggers.errors import UserError
from boggers.files import read_json, write_bytes, write_json
from boggers.graph.living import ACTIVATION, STABILITY, LivingGraph

FORMATS = ("tscore", "node-link", "graphml")
MAX_BYTES = 2_000_000_000

_COLUMNS = ("activation", "stability", "base")


def read_graph(path: Path, format: str | None = None) -> LivingGraph:
    """The graph in a file.

    Args:
        path: the file.
        format: tscore, node-link or graphml; told from the file's name and content if left out.

    Raises:
        UserError: the file is missing, damaged, or of no known format.
    """
    return _READERS[_format(path, format, read=True)](path)


def write_graph(graph: LivingGraph, path: Path, format: str | None = None) -> None:
    """Write a graph to a file, all of it or nothing.

    TS-Core's factory JSON has no bases and no tick; the other two hold everything.

    Args:
        graph: what to write.
        path: the file.
        format: tscore, node-link or graphml; `.graphml` and `.xml` are the latter, and other names
            node-link, if left out.
    """
    _WRITERS[_format(path, format, read=False)](graph, path)


def to_record(graph: LivingGraph) -> dict[str, Any]:
    """A graph as a JSON object from which `from_record` makes the same one, to the last bit."""
    source, target, weight = graph.edge_arrays
    return {
        "tick": graph.tick,
        "damping": graph.damping,
        "names": list(graph.names),
        **{column: getattr(graph, column).tolist() for column in _COLUMNS},
        "attributes": {str(at): known for at, known in graph.attributes.items()},
        "source": source.tolist(),
        "target": target.tolist(),
        "weight": weight.tolist(),
        "dangling": [list(edge) for edge in graph.dangling],
    }


def from_record(record: Mapping[str, Any]) -> LivingGraph:
    """The graph that `to_record` wrote down."""
    activation, stability, base = (np.array(record[column], np.float64) for column in _COLUMNS)
    graph = LivingGraph.from_arrays(
        record["names"],
        activation,
        np.array(record["source"], np.int32),
        np.array(record["target"], np.int32),
        np.array(record["weight"], np.float64),
        stability=stability,
        base=base,
        damping=record["damping"],
    )
    graph.attributes = {int(at): dict(known) for at, known in record["attributes"].items()}
    for source, target, weight in record["dangling"]:
        graph.add_edge(source, target, weight, dangling=True)
    graph.tick = record["tick"]
    return graph


def _format(path: Path, wanted: str | None, *, read: bool) -> str:
    if wanted is not None:
        if wanted not in FORMATS:
            raise UserError(f"A graph's format is one of {', '.join(FORMATS)}; {wanted!r} came.")
        return wanted
    if path.suffix.lower() in (".graphml", ".xml"):
        return "graphml"
    if not read:
        return "node-link"
    value = read_json(path)
    if isinstance(value, dict) and ("links" in value or "directed" in value):
        return "node-link"
    return "tscore"


def _read_tscore(path: Path) -> LivingGraph:
    value = _table(path, read_json(path))
    graph = LivingGraph()
    for record in _list(path, value, "nodes"):
        known = _table(path, record)
        _add_node(path, graph, known.get("id"), known)
    for record in _list(path, value, "edges"):
        known = _table(path, record)
        _add_edge(path, graph, known.get("from"), known.get("to"), known.get("weight", 1.0))
    return graph


def _write_tscore(graph: LivingGraph, path: Path) -> None:
    nodes = []
    for name in graph.names:
        node = graph.node(name)
        own = {"id": name, "activation": node.activation, "stability": node.stability}
        nodes.append({**node.attributes, **own})
    edges = [{"from": s, "to": t, "weight": w} for s, t, w in graph.edges()]
    write_json(path, {"nodes": nodes, "edges": edges})


def _read_node_link(path: Path) -> LivingGraph:
    value = _table(path, read_json(path))
    about = value.get("graph") if isinstance(value.get("graph"), dict) else {}
    graph = _begun(path, about or {})
    for record in _list(path, value, "nodes"):
        known = _table(path, record)
        _add_node(path, graph, known.get("id"), known)
    links = "links" if "links" in value else "edges"
    for record in _list(path, value, links):
        known = _table(path, record)
        ends = known.get("source"), known.get("target")
        _add_edge(path, graph, *ends, known.get("weight", 1.0))
    return graph


def _write_node_link(graph: LivingGraph, path: Path) -> None:
    import networkx

    drawn = _drawn(graph)
    write_json(path, networkx.node_link_data(drawn, edges="links"))


def _read_graphml(path: Path) -> LivingGraph:
    import networkx

    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path} has {size:,} bytes; a graph may have {MAX_BYTES:,}.")
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise UserError(f"{path} declares XML entities, which GraphML has no use for; remove them.")
    try:
        drawn = networkx.read_graphml(io.BytesIO(text), force_multigraph=True)
    except (SyntaxError, KeyError, ValueError, TypeError, networkx.NetworkXError) as error:
        raise UserError(f"{path} must hold GraphML, but is damaged: {error}.") from error
    graph = _begun(path, drawn.graph)
    for name, known in drawn.nodes(data=True):
        _add_node(path, graph, name, known)
    for source, target, known in drawn.edges(data=True):
        _add_edge(path, graph, source, target, known.get("weight", 1.0))
    return graph


def _write_graphml(graph: LivingGraph, path: Path) -> None:
    import networkx

    drawn = _drawn(graph)
    for _, known in drawn.nodes(data=True):
        for key, value in known.items():
            if not isinstance(value, str | int | float | bool):
                known[key] = json.dumps(value)  # GraphML has no lists
    file = io.BytesIO()
    networkx.write_graphml(drawn, file)
    write_bytes(path, file.getvalue())


def _drawn(graph: LivingGraph) -> Any:
    """The graph as a networkx multigraph; edges that lead nowhere are left out."""
    import networkx

    drawn = networkx.MultiDiGraph(tick=graph.tick, damping=graph.damping)
    for name in graph.names:
        node = graph.node(name)
        numbers = {column: getattr(node, column) for column in _COLUMNS}
        drawn.add_node(name, **{**node.attributes, **numbers})
    for source, target, weight in graph.edges():
        if source in graph and target in graph:
            drawn.add_edge(source, target, weight=weight)
    return drawn


def _begun(path: Path, about: Mapping[str, Any]) -> LivingGraph:
    graph = LivingGraph(_number(path, "damping", about.get("damping", 0.35)))
    graph.tick = int(_number(path, "tick", about.get("tick", 0)))
    return graph


def _add_node(path: Path, graph: LivingGraph, name: Any, known: Mapping[str, Any]) -> None:
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise UserError(f"{path}: every node needs an id that is a text; {name!r} came.")
    activation = _number(path, f"activation of {name}", known.get("activation", ACTIVATION))
    stability = _number(path, f"stability of {name}", known.get("stability", STABILITY))
    base = known.get("base")
    extra = {k: v for k, v in known.items() if k not in (*_COLUMNS, "id")}
    graph.add_node(
        str(name),
        activation,
        stability,
        base=None if base is None else _number(path, f"base of {name}", base),
        attributes=extra,
    )


def _add_edge(path: Path, graph: LivingGraph, source: Any, target: Any, weight: Any) -> None:
    if source is None or target is None:
        raise UserError(f"{path}: every edge needs two ends; {source!r} and {target!r} came.")
    number = _number(path, f"weight of {source}-{target}", weight)
    graph.add_edge(str(source), str(target), number, dangling=True)


def _number(path: Path, what: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{path}: the {what} must be a finite number; it is {value!r}.")
    return number


def _table(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold objects of nodes and edges; {value!r:.60} came.")
    return value


def _list(path: Path, value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key, [] if key == "edges" else None)
    if not isinstance(found, list):
        raise UserError(f"{path} is no graph: it has no list {key!r}.")
    return found


_READERS: dict[str, Callable[[Path], LivingGraph]] = {
    "tscore": _read_tscore,
    "node-link": _read_node_link,
    "graphml": _read_graphml,
}
_WRITERS: dict[str, Callable[[LivingGraph, Path], None]] = {
    "tscore": _write_tscore,
    "node-link": _write_node_link,
    "graphml": _write_graphml,
}
