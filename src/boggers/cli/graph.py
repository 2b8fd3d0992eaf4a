"""`boggers graph`: look at a living graph, let it tick, run, grow, and carry it elsewhere."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro
from rich.console import Console
from rich.progress import track

from boggers.cli.parse import parse
from boggers.errors import UserError
from boggers.graph import tscore
from boggers.graph.cycle import CycleRule, WaveCycle
from boggers.graph.exchange import read_graph, write_graph
from boggers.graph.living import LivingGraph
from boggers.graph.stopping import run_until_stable
from boggers.graph.store import HISTORY, GraphStore

DATABASE = "graph.sqlite"
BOOTSTRAP = "bootstrap"
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Show:
    """Say how a graph stands: its most tense nodes and its last ticks."""

    graph: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GRAPH")]
    """The graph's database, or the folder of a run that has one."""

    nodes: int = 10
    """Nodes to list, those furthest from their neighbours first; at least 0."""

    ticks: int = 5
    """Ticks of history to list, at least 0."""

    def __post_init__(self) -> None:
        _at_least(0, nodes=self.nodes, ticks=self.ticks)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Propagate: every activation moves towards its neighbours'."""

    graph: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GRAPH")]
    """The graph's database, or the folder of a run that has one."""

    steps: int = 1
    """Ticks, each saved before the next begins; at least 1."""

    def __post_init__(self) -> None:
        _at_least(1, steps=self.steps)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Let a graph come to rest: the whole wave cycle, or propagation alone."""

    graph: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GRAPH")]
    """The graph's database, or the folder of a run that has one."""

    stages: Literal["all", "propagate"] = "all"
    """all: Propagate, Relax, Break, Evolve until nothing changes; propagate: ticks alone."""

    criterion: Literal["activation", "tension"] = "activation"
    """What must be at rest when propagating alone; tension is TS-Core's, which mistakes swinging
    for rest."""

    max_ticks: int = 64
    """Most ticks when propagating alone, at least 0."""

    max_cycles: int = 1000
    """Most cycles of the four stages, at least 1."""

    rule: CycleRule = field(default_factory=CycleRule)

    def __post_init__(self) -> None:
        _at_least(0, max_ticks=self.max_ticks)
        _at_least(1, max_cycles=self.max_cycles)


@dataclass(frozen=True, kw_only=True)
class Evolve:
    """Grow a graph by a node beside `ts_native`, or strengthen a node of TS-Core's."""

    graph: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GRAPH")]
    """The graph's database, or the folder of a run that has one."""

    node: str | None = None
    """Strengthen this node instead: language_ritual, kernel_wave_12, persistent_wave, or one whose
    name begins with evolve_."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """Make a graph's database from a file, or from TS-Core's first four nodes."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """TS-Core's factory JSON, node-link JSON or GraphML; the word bootstrap means TS-Core's four
    nodes."""

    graph: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GRAPH")]
    """The database to make; it must not hold a graph yet."""

    format: Literal["tscore", "node-link", "graphml"] | None = None
    """What SOURCE is; told from its name and content if left out."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a graph to a file that other programs read."""

    graph: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="GRAPH")]
    """The graph's database, or the folder of a run that has one."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The file to write."""

    format: Literal["tscore", "node-link", "graphml"] | None = None
    """graphml for .graphml and .xml, node-link for other names, if left out."""


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """What `boggers graph` takes."""

    do: Annotated[Show | Tick | Run | Evolve | Import | Export, tyro.conf.arg(name="")]

    history: int = HISTORY
    """Ticks of history that the database keeps, at least 1."""

    def __post_init__(self) -> None:
        _at_least(1, history=self.history)


def run(argv: list[str]) -> None:
    """Do what was asked for with a graph."""
    options = parse(
        GraphOptions,
        argv,
        verb="graph",
        description="Look at a living graph, let it tick, run and grow, and carry it elsewhere.",
    )
    do = options.do
    if isinstance(do, Import):
        _import(do, options.history)
        return
    with GraphStore(_database(do.graph), history=options.history) as store:
        graph = store.load()
        if isinstance(do, Show):
            _show(do, store, graph)
        elif isinstance(do, Export):
            write_graph(graph, do.out, do.format)
            print(f"{do.out}: {len(graph):,} nodes, {graph.num_edges:,} edges.")
        else:
            store.adopt(graph)
            _change(do, store, graph)


def _change(do: Tick | Run | Evolve, store: GraphStore, graph: LivingGraph) -> None:
    if isinstance(do, Tick):
        for _ in _tracked(range(do.steps), "ticking"):
            graph.propagate()
            store.save(graph)
        print(f"tick {graph.tick}: tension {graph.tension():.6g}")
    elif isinstance(do, Evolve):
        _evolve(do, store, graph)
    elif do.stages == "propagate":
        ended = run_until_stable(graph, do.max_ticks, criterion=do.criterion)
        store.save(graph)
        print(
            f"{ended.reason} after {ended.ticks} ticks (tick {ended.tick}): tension "
            f"{ended.tension:.6g}, last movement {ended.moved:.2g}"
        )
    else:
        _cycle(do, store, graph)


def _cycle(do: Run, store: GraphStore, graph: LivingGraph) -> None:
    cycle = WaveCycle(do.rule)
    print("cycle  ticks  broken  evolved   tension       moved")
    for number in range(1, do.max_cycles + 1):
        done = cycle.run_once(graph)
        store.save(graph, evolved=len(done.evolved))
        print(
            f"{number:>5}  {1 + done.stages[1].done:>5}  {len(done.broken):>6}  "
            f"{len(done.evolved):>7}  {graph.tension():>8.6f}  {done.moved:>10.2e}"
        )
        if done.stable:
            print(f"stable after {number} cycles: {len(graph):,} nodes, {graph.num_edges:,} edges")
            return
    print(f"out of cycles after {do.max_cycles}; go on with the same command.")


def _evolve(do: Evolve, store: GraphStore, graph: LivingGraph) -> None:
    if do.node is None:
        name = tscore.factory_evolve(graph, int(time.time()))
        store.save(graph, evolved=1)
        print(f"{name} grew; {len(graph):,} nodes, tension {graph.tension():.6g}")
        return
    graph.number(do.node)  # refuses what is not there
    named = {
        "language_ritual": tscore.evolve_language_ritual,
        "kernel_wave_12": tscore.evolve_kernel_wave12,
        "persistent_wave": tscore.evolve_persistent_wave,
    }
    strengthen = named.get(do.node)
    done = tscore.evolve_dynamic_node(graph, do.node) if strengthen is None else strengthen(graph)
    if not done:
        raise UserError(
            f"{do.node!r} cannot be strengthened; {', '.join(named)} and nodes whose names begin "
            f"with {tscore.EVOLVED_PREFIX} can."
        )
    store.save(graph)
    node = graph.node(do.node)
    print(f"{do.node}: activation {node.activation:.6g}, stability {node.stability:.6g}")


def _show(do: Show, store: GraphStore, graph: LivingGraph) -> None:
    strain, degree = graph.node_tension(), graph.degree
    print(
        f"{store.path}: {len(graph):,} nodes, {graph.num_edges:,} edges, tick {graph.tick}, "
        f"damping {graph.damping:g}, tension {graph.tension():.6g}"
    )
    chosen = (-strain).argsort(kind="stable")[: do.nodes].tolist()
    if chosen:
        wide = max(4, *(len(graph.names[at]) for at in chosen))
        print(f"\n{'node':<{wide}}  activation  stability  base      degree    tension")
        for at in chosen:
            print(
                f"{graph.names[at]:<{wide}}  {graph.activation[at]:<10.6f}  "
                f"{graph.stability[at]:<9.4f}  {graph.base[at]:<8.4f}  {degree[at]:<8.4g}  "
                f"{strain[at]:.6f}"
            )
    rows = store.history(do.ticks)
    if rows:
        print("\ntick      tension     nodes  edges  language  grew")
        for row in rows:
            felt = "" if row.language is None else f"{row.language:.4f}"
            print(
                f"{row.tick:<8}  {row.tension:<10.6f}  {row.nodes:>5}  {row.edges:>5}  {felt:<8}  "
                f"{row.evolved}"
            )


def _import(do: Import, history: int) -> None:
    graph = tscore.bootstrap() if do.source == BOOTSTRAP else read_graph(Path(do.source), do.format)
    with GraphStore(do.graph, history=history) as store:
        if not store.empty:
            raise UserError(f"{do.graph} holds a graph already. Choose another file.")
        store.save(graph)
    print(f"{do.graph}: {len(graph):,} nodes, {graph.num_edges:,} edges.")


def _database(path: Path) -> Path:
    """The database that a path means; it must exist."""
    file = path / DATABASE if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"{file} is no graph: there is no such file. Make one with: boggers graph import "
            f"bootstrap {file}"
        )
    return file


def _tracked(items: Iterable[Item], what: str) -> Iterable[Item]:
    """The items, with a bar on a terminal while they pass."""
    console = Console(file=sys.stderr)
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} must be at least {least}; it is {value}.")
