"""What a tick of the living graph costs, and what graph and memory add to a training step.

First ticks per second at growing sizes (random graphs of degree 20), the slope of log cost over
log (N + E), and how the bytes of the largest tick compare with reading that much memory in order.
Then one training step with and without substrate and memory, turn by turn in one process.

    python benchmarks/graph_speed.py
    python benchmarks/graph_speed.py --only steps --rows 256

Set OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=1000 to time threads that wait as those of `boggers` do.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Literal

import numpy as np
import torch
import tyro

from boggers.data.windows import Batch
from boggers.field.bonus import BonusForm
from boggers.graph.living import LivingGraph
from boggers.machine import keep_memory
from boggers.model.architectures import Model
from boggers.model.stream import StreamConfig, StreamModel
from boggers.model.window import WindowConfig, WindowModel
from boggers.train.graph_config import GraphConfig
from boggers.train.loss_config import LossConfig
from boggers.train.objective import objective
from boggers.train.optim import OptimConfig, guarded_step, make_optimizer
from boggers.train.run import Run
from boggers.train.substrate import GraphCoupling

EDGES_PER_NODE = 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is timed."""

    only: Literal["ticks", "steps"] | None = None
    """One of the two parts."""
    nodes: tuple[int, ...] = (10, 1_000, 100_000, 1_000_000)
    """Sizes of the graphs."""
    vocabularies: tuple[int, ...] = (8_192, 50_257)
    """Sizes of the vocabulary."""
    architecture: Literal["window", "stream"] = "window"
    """A window model, or a stream of 8 x 256 tokens; both as they are by default."""
    rows: int = 64
    """Windows a step; the recipe window has 256."""
    steps: int = 3
    """Relaxation steps of a window model; the recipe a1 has 32."""
    readout: Literal["tied", "flat"] = "tied"
    """How a window model reads; flat is the original's, and dearer."""
    beat_tokens: int | None = None
    """Tokens between two beats of graph and memory, as in training; 1 = every step is one."""
    rounds: int = 15
    """How often everything is timed."""
    in_a_row: int = 8
    """Steps of one kind before it is the other's turn: training takes them one after another, and
    what a step does last is still in the caches when the next one begins. A multiple of the steps
    of a beat, which are 8 of 64 windows and 2 of 256."""
    clock: Literal["wall", "cpu"] = "wall"
    """cpu: seconds of this process alone, for machines on which others work as well."""


def main() -> None:
    """Time and print."""
    options = tyro.cli(Options, description=__doc__)
    keep_memory()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, numpy {np.__version__}")
    if options.only != "steps":
        ticks(options)
    if options.only != "ticks":
        for vocabulary in options.vocabularies:
            steps(options, vocabulary)


def ticks(options: Options) -> None:
    """Ticks per second at every size, and the slope."""
    print(f"\n{'nodes':>10}{'edges':>12}{'ms a tick':>12}{'fastest':>10}{'ticks/s':>12}{'GB/s':>8}")
    sizes, costs = [], []
    for count in options.nodes:
        graph = random_graph(count)
        graph.propagate()
        seconds = timed(graph.propagate, options.rounds, options.clock)
        middle, edges = median(seconds), graph.num_edges
        moved = 2 * edges * 12 + count * 8 * 8  # both directions of an edge; columns of a tick
        sizes.append(count + edges)
        costs.append(middle)
        print(
            f"{count:>10,}{edges:>12,}{1e3 * middle:>12.3f}{1e3 * min(seconds):>10.3f}"
            f"{1 / middle:>12,.0f}{moved / middle / 1e9:>8.2f}"
        )
    slope = np.diff(np.log(costs)) / np.diff(np.log(sizes))
    whole = np.polyfit(np.log(sizes), np.log(costs), 1)[0]
    print(f"slope over N + E: {whole:.3f} in all; between neighbours {np.round(slope, 3).tolist()}")
    plain = np.ones(30_000_000)
    read = median(timed(plain.sum, 5, options.clock))
    print(f"reading memory in order, one thread: {plain.nbytes / read / 1e9:.2f} GB/s")


def random_graph(count: int) -> LivingGraph:
    """N nodes and 10 N edges between random pairs."""
    random, edges = np.random.default_rng(0), count * EDGES_PER_NODE
    source, target = random.integers(0, count, (2, edges), dtype=np.int32)
    names = (str(number) for number in range(count))
    return LivingGraph.from_arrays(
        names, random.random(count), source, target, random.random(edges)
    )


def steps(options: Options, vocabulary: int) -> None:
    """A step without and with substrate and memory, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        plain = training_step(options, vocabulary, None)
        both = GraphConfig(
            use_substrate=True,
            use_goat_memory=True,
            beat_tokens=options.beat_tokens,
            language_threshold=0.0,
            graph_rate=1.0,
        )
        coupled = training_step(options, vocabulary, (both, Path(folder)))
        for work in (plain, coupled):
            for _ in range(3):
                work()
        off, on = [], []
        for _ in range(options.rounds):
            off.append(mean(timed(plain, options.in_a_row, options.clock)))
            on.append(mean(timed(coupled, options.in_a_row, options.clock)))
    ratios = [b / a for a, b in zip(off, on, strict=True)]
    print(
        f"\nV = {vocabulary:,}, {_what(options)}, a beat every {both.beat:,} tokens: "
        f"{1e3 * median(off):.1f} ms a step off, {1e3 * median(on):.1f} ms on; "
        f"ratio of medians {median(on) / median(off):.4f}, of fastest {min(on) / min(off):.4f}, "
        f"median of ratios {median(ratios):.4f}"
    )


def _what(options: Options) -> str:
    if options.architecture == "stream":
        return "stream of 8 x 256 tokens"
    return f"{options.rows} windows, K={options.steps}, {options.readout} readout"


def training_step(
    options: Options, vocabulary: int, graph: tuple[GraphConfig, Path] | None
) -> Callable[[], object]:
    """A whole step, with everything that the loop does for a graph."""
    generator = torch.Generator().manual_seed(0)
    bonus: BonusForm | None = None if graph is None else "hold"
    model: Model
    if options.architecture == "stream":
        model = StreamModel(StreamConfig(token_bonus=bonus), vocabulary, generator).train()
        ids = torch.randint(vocabulary, (8, 257), generator=generator)
        batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    else:
        config = WindowConfig(
            readout=options.readout,
            token_bonus=bonus,
            window_size=8,
            num_dynamics_steps=options.steps,
        )
        model = WindowModel(config, vocabulary, generator).train()
        ids = torch.randint(vocabulary, (options.rows, 9), generator=generator)
        batch = Batch(ids[:, :-1].contiguous(), ids[:, -1].contiguous())
    optimizer = make_optimizer(model, OptimConfig())
    coupling = None
    if graph is not None:
        coupling = GraphCoupling(graph[0], model, Run(graph[1]), torch.device("cpu"))

    def step() -> None:
        damping = 1.0 if coupling is None else coupling.before_step()
        with nullcontext() if coupling is None else coupling.controls():
            loss = objective(model, batch, LossConfig(), generator)
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        guarded_step(optimizer, loss.total, 1e-3 * damping, 1.0)
        if coupling is not None:
            coupling.after_step(batch, loss)

    return step


def timed(work: Callable[[], object], times: int, clock: str) -> list[float]:
    """How long the work took, each time."""
    now = time.perf_counter if clock == "wall" else time.process_time
    seconds = []
    for _ in range(times):
        begun = now()
        work()
        seconds.append(now() - begun)
    return seconds


if __name__ == "__main__":
    main()
