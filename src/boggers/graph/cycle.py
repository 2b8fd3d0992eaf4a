"""The wave cycle: Propagate → Relax → Break → Evolve, each stage doing something, and it ends."""

import itertools
import math
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from boggers.errors import UserError
from boggers.graph.living import Floats, LivingGraph, largest_change

AHEAD = 8
"""Ticks of a small graph between two looks at whether it rests."""

GENERATION = "generation"
"""Attribute of a node that grew between two others: how many breaks its edges come from."""


@dataclass(frozen=True, kw_only=True)
class CycleRule:
    """How a wave cycle moves, breaks and grows a graph."""

    pull: float = 0.5
    """Share of the way to its base that a fully stable node goes in a tick of relaxing; [0, 1]."""

    relax_ticks: int = 64
    """Most ticks of relaxing in a cycle, at least 1."""

    rest: float = 1e-4
    """A graph rests once no activation moves by as much in a tick; above 0."""

    break_gap: float = 0.25
    """An edge whose ends still differ by more than this at rest breaks; above 0."""

    breaks: int = 8
    """Most edges that break in a cycle, the most strained first; at least 0."""

    def __post_init__(self) -> None:
        for holds, rule, value in (
            (0.0 <= self.pull <= 1.0, "--pull must be in [0, 1]", self.pull),
            (self.relax_ticks >= 1, "--relax-ticks must be at least 1", self.relax_ticks),
            (self.rest > 0.0, "--rest must be above 0", self.rest),
            (self.break_gap > 0.0, "--break-gap must be above 0", self.break_gap),
            (self.breaks >= 0, "--breaks must be at least 0", self.breaks),
        ):
            if not holds:
                raise UserError(f"{rule}; it is {value}.")


@dataclass(frozen=True)
class Relaxed:
    """Ticks taken, the last movement, and whether that counts as rest."""

    ticks: int
    moved: float
    at_rest: bool


@dataclass(frozen=True)
class Broken:
    """An edge that broke: the numbers of its ends, its weight, the gap, and its generation."""

    source: int
    target: int
    weight: float
    gap: float
    generation: int


@dataclass(frozen=True)
class Stage:
    """One stage of a cycle as measured: T after it, how much it did, and how long it took.

    `done` counts ticks (propagate, relax), broken edges (break) or new nodes (evolve).
    """

    name: Literal["propagate", "relax", "break", "evolve"]
    tension: float
    done: int
    seconds: float


@dataclass(frozen=True)
class Cycle:
    """One cycle: its four stages, what broke and grew, and how far the last tick moved."""

    stages: tuple[Stage, Stage, Stage, Stage]
    broken: tuple[Broken, ...]
    evolved: tuple[str, ...]
    moved: float
    at_rest: bool

    @property
    def stable(self) -> bool:
        """Whether nothing moves, breaks or grows any more."""
        return self.at_rest and not self.broken


@dataclass(frozen=True)
class CycleRun:
    """Several cycles and why they ended."""

    reason: Literal["stable", "out of cycles"]
    cycles: tuple[Cycle, ...]


class WaveCycle:
    """Runs cycles on a graph.

    * Propagate: one tick, a ← (1 - d) a + d t.
    * Relax: ticks followed by a pull to the base, a ← a + pull · s (b - a), until the graph rests.
      Stable nodes are stubborn (Friedkin & Johnsen, 1990), so disagreement outlives relaxing: that
      is what gives Break something to find.
    * Break: at rest, edges whose ends still differ by more than `break_gap` are removed, the most
      strained first.
    * Evolve: where an edge broke, a free node grows between its ends with the edge's weight to
      either; at rest it stands half-way and each half carries half of the gap.

    Why it ends: what has grown out of an edge by g breaks in a row is of generation g, and nothing
    of generation G = ⌈log₂(R / break_gap)⌉ breaks, R the range of activations and bases. So E edges
    break at most E (2^G - 1) times in all. Nor is anything strained then: the pieces of one edge
    share its gap evenly at rest, and 2^G pieces have at most R/2^G ≤ `break_gap` each.

    Args:
        rule: how.
    """

    def __init__(self, rule: CycleRule | None = None) -> None:
        self.rule = rule or CycleRule()

    def run_once(self, graph: LivingGraph) -> Cycle:
        """One cycle."""
        clock, rule = _Clock(graph), self.rule
        first = clock.stage("propagate", 1, graph.propagate().tension)
        relaxed = relax(graph, rule)
        second = clock.stage("relax", relaxed.ticks)
        broken = break_strained(graph, rule) if relaxed.at_rest else []
        third = clock.stage("break", len(broken), second.tension)  # which knows no edges
        evolved = evolve_between(graph, broken)
        fourth = clock.stage("evolve", len(evolved), None if evolved else third.tension)
        stages = (first, second, third, fourth)
        return Cycle(stages, tuple(broken), tuple(evolved), relaxed.moved, relaxed.at_rest)

    def run(self, graph: LivingGraph, max_cycles: int = 1000) -> CycleRun:
        """Cycles until one changes nothing any more."""
        cycles: list[Cycle] = []
        while len(cycles) < max_cycles:
            cycles.append(self.run_once(graph))
            if cycles[-1].stable:
                return CycleRun("stable", tuple(cycles))
        return CycleRun("out of cycles", tuple(cycles))


def relax(graph: LivingGraph, rule: CycleRule) -> Relaxed:
    """Ticks with a pull to the base until nothing moves by as much as `rest`."""
    pull = rule.pull * graph.stability
    kept, towards = 1.0 - pull, pull * graph.base
    walk = graph.walk()
    if walk is not None:
        return _relax_small(graph, rule, kept[:, None] * walk, towards)
    activation = graph.activation
    moved, before = math.inf, np.empty_like(activation)
    for done in range(1, rule.relax_ticks + 1):
        np.copyto(before, activation)
        graph.advance()
        activation *= kept
        activation += towards
        moved = largest_change(before, activation)
        if moved < rule.rest:
            return Relaxed(done, moved, True)
    return Relaxed(rule.relax_ticks, moved, False)


def _relax_small(graph: LivingGraph, rule: CycleRule, motion: Floats, towards: Floats) -> Relaxed:
    """The same for a graph whose tick and pull are one matrix: a ← motion · a + towards.

    Several ticks at once, then a look at where the first of them came to rest: looking costs more.
    """
    path = np.empty((AHEAD + 1, len(graph)))
    path[0], done = graph.activation, 0
    while True:
        ahead = min(AHEAD, rule.relax_ticks - done)
        for before, after in itertools.pairwise(path[: ahead + 1]):
            np.dot(motion, before, out=after)
            after += towards
        moved = np.abs(path[1 : ahead + 1] - path[:ahead]).max(axis=1, initial=0.0)
        rests = moved < rule.rest
        at_rest = bool(rests.any())
        last = int(rests.argmax()) + 1 if at_rest else ahead
        done += last
        if at_rest or done == rule.relax_ticks:
            break
        path[0] = path[last]
    graph.activation[:] = path[last]
    graph.tick += done
    return Relaxed(done, float(moved[last - 1]), at_rest)


def break_strained(graph: LivingGraph, rule: CycleRule) -> list[Broken]:
    """Remove the edges whose ends differ most, if by more than `break_gap`; what they were."""
    source, target, weight = graph.edge_arrays
    gap = graph.activation.take(source) - graph.activation.take(target)
    np.abs(gap, out=gap)
    if not np.maximum.reduce(gap, initial=0.0) > rule.break_gap:
        return []
    strained = np.flatnonzero((gap > rule.break_gap) & (weight > 0.0))
    if not len(strained) or not rule.breaks:
        return []
    born = np.zeros(len(graph), np.int64)
    for at, known in graph.attributes.items():
        born[at] = known.get(GENERATION, 0)
    generation = np.maximum(born[source[strained]], born[target[strained]])
    strained = strained[generation < generations(graph, rule.break_gap)]
    chosen = strained[np.argsort(-gap[strained], kind="stable")[: rule.breaks]]
    broken = [
        Broken(
            int(source[edge]),
            int(target[edge]),
            float(weight[edge]),
            float(gap[edge]),
            int(max(born[source[edge]], born[target[edge]])),
        )
        for edge in chosen
    ]
    if broken:
        doomed = np.zeros(len(weight), bool)
        doomed[chosen] = True
        graph.remove_edges(doomed)
    return broken


def evolve_between(graph: LivingGraph, broken: list[Broken]) -> list[str]:
    """Grow a free node between the ends of every broken edge, at their mean; the names."""
    names = []
    for number, edge in enumerate(broken):
        name = f"evolve_{graph.tick}_{number}"
        while name in graph:
            name += "'"
        middle = float(graph.activation[[edge.source, edge.target]].mean())
        known = {GENERATION: edge.generation + 1}
        graph.add_node(name, middle, 0.0, attributes=known)
        for end in (edge.source, edge.target):
            graph.add_edge(graph.names[end], name, edge.weight)
        names.append(name)
    return names


def generations(graph: LivingGraph, gap: float) -> int:
    """G = ⌈log₂(R / gap)⌉, after so many breaks in a row no edge can span `gap` at rest."""
    levels = np.concatenate([graph.activation, graph.base])
    spread = max(1.0, float(np.ptp(levels)) if len(levels) else 0.0)
    return max(1, math.ceil(math.log2(spread / gap)))


class _Clock:
    """Measures one stage after another."""

    def __init__(self, graph: LivingGraph) -> None:
        self.graph = graph
        self.begun = time.perf_counter()

    def stage(
        self,
        name: Literal["propagate", "relax", "break", "evolve"],
        done: int,
        tension: float | None = None,
    ) -> Stage:
        spent = time.perf_counter() - self.begun
        stage = Stage(name, self.graph.tension() if tension is None else tension, done, spent)
        self.begun = time.perf_counter()
        return stage
