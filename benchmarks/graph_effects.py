"""What a graph and a token memory are worth: the same small run with one of them changed.

Every setting is trained with the same seeds on the same text; differences are paired by seed. The
cosine is the mean over pairs of settled states of different tokens; 1 means that all are alike.

    python benchmarks/graph_effects.py --corpus sotu --seeds 1 2 3
"""

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
import tyro
from torch.nn.functional import normalize

from boggers.data.config import DataConfig
from boggers.files import write_json
from boggers.model.window import WindowConfig, WindowModel
from boggers.text.config import TextConfig
from boggers.train.graph_config import GraphConfig
from boggers.train.loop import fit
from boggers.train.optim import OptimConfig
from boggers.train.prepare import Prepared, prepare
from boggers.train.run import RunConfig, TrainConfig

PAIRS = 512
"""Held-out windows whose states are compared."""

MEMORY = GraphConfig(use_goat_memory=True)
GRAPH = GraphConfig(use_substrate=True)
SETTINGS: dict[str, tuple[GraphConfig, dict[str, object], str]] = {
    "off": (GraphConfig(), {}, "off"),
    "memory, hold": (MEMORY, {}, "off"),
    "memory, additive": (MEMORY, {"token_bonus": "additive"}, "off"),
    "graph, nothing back": (GRAPH, {}, "off"),
    "graph → steps": (dataclasses.replace(GRAPH, graph_steps=1.0), {}, "off"),
    "graph → learning rate": (dataclasses.replace(GRAPH, graph_rate=8.0), {}, "off"),
    "breaks": (GraphConfig(), {"breaks": True}, "off"),
    "graph → breaks": (dataclasses.replace(GRAPH, graph_breaks=1.0), {"breaks": True}, "breaks"),
}
"""What is on, further options of the model, and the setting to compare with."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is trained."""

    corpus: str = "sotu"
    """The text."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Each setting is trained with each."""
    settings: tuple[str, ...] = tuple(SETTINGS)
    """Which settings."""
    steps: int = 400
    """Optimiser steps."""
    beat_tokens: int | None = None
    """Tokens between two beats of graph and memory; a batch of these runs has 1,024."""
    bytes: int = 400_000
    """Of the text."""
    json: Path | None = None
    """Write every run's figures to this file."""


@dataclass(frozen=True)
class Outcome:
    """One run: held-out bits per byte, mean cosine, last training loss, seconds a step."""

    setting: str
    seed: int
    bpb: float
    cosine: float
    loss: float
    seconds: float


def main() -> None:
    """Train everything, then print a table."""
    options = tyro.cli(Options, description=__doc__)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            for name in options.settings:
                outcomes.append(trained(name, seed, options, Path(folder)))
                print(outcomes[-1], flush=True)
                if options.json is not None:
                    write_json(options.json, [dataclasses.asdict(each) for each in outcomes])
    table(outcomes)


def trained(name: str, seed: int, options: Options, folder: Path) -> Outcome:
    """One run from nothing."""
    graph, physics, _ = SETTINGS[name]
    if graph.anything:
        graph = dataclasses.replace(graph, beat_tokens=options.beat_tokens)
    config = RunConfig(
        model=WindowConfig(state_dim=64, memory_patterns=64, window_size=8, **physics),  # type: ignore[arg-type]
        text=TextConfig(tokenizer="bpe", vocab_size=512),
        data=DataConfig(
            corpus=options.corpus,
            max_corpus_bytes=options.bytes,
            val_fraction=0.1,
            cache_dir=folder / "cache",
        ),
        optim=OptimConfig(lr=3e-3, schedule="wsd", warmup_steps=20, grad_clip=1.0),
        train=TrainConfig(
            out=folder / f"{seed}-{name}".replace(" ", "-"),
            seed=seed,
            max_steps=options.steps,
            batch_size=128,
            device="cpu",
            log_every=options.steps,
        ),
        graph=graph,
    )
    prepared = prepare(config)
    begun = time.perf_counter()
    fit(prepared)
    seconds = (time.perf_counter() - begun) / options.steps
    prepared.model.eval()
    assert prepared.validate is not None
    with prepared.run.metrics.open() as file:
        header, *_, last = file.read().splitlines()
    row = dict(zip(header.split(","), last.split(","), strict=True))
    return Outcome(
        name,
        seed,
        prepared.validate(prepared.model, lambda done, total: None).bits_per_byte,
        mean_cosine(prepared),
        float(row["train_ce"]),
        seconds,
    )


@torch.no_grad()
def mean_cosine(prepared: Prepared) -> float:
    """Between settled states of different tokens, at the last position of held-out windows."""
    model = prepared.model
    assert isinstance(model, WindowModel)
    window, held_out = model.config.window_size, prepared.split.held_out
    ids = torch.from_numpy(prepared.corpus.ids[held_out.start : held_out.stop].astype("int64"))
    tokens = ids.unfold(0, window, 7)[:PAIRS]
    settled = model.settle(tokens, generator=torch.Generator().manual_seed(0))
    rows = normalize(settled.state[:, -1], dim=-1)
    others = tokens[:, -1][:, None] != tokens[:, -1][None]
    return float((rows @ rows.t())[others].mean())


def table(outcomes: list[Outcome]) -> None:
    """Means over seeds, and differences paired by seed."""
    print(f"\n{'':<24}{'bits/byte':>10}{'paired difference':>28}{'cosine':>9}{'loss':>8}{'ms':>7}")
    for name in dict.fromkeys(each.setting for each in outcomes):
        mine = {each.seed: each for each in outcomes if each.setting == name}
        base = {each.seed: each for each in outcomes if each.setting == SETTINGS[name][2]}
        apart = [mine[s].bpb - base[s].bpb for s in mine if s in base]
        said = ""
        if name != SETTINGS[name][2] and apart:
            said = f"{mean(apart):+.4f} ({min(apart):+.4f} … {max(apart):+.4f})"
        print(
            f"{name:<24}{mean(e.bpb for e in mine.values()):>10.4f}{said:>28}"
            f"{mean(e.cosine for e in mine.values()):>9.3f}"
            f"{mean(e.loss for e in mine.values()):>8.3f}"
            f"{1e3 * mean(e.seconds for e in mine.values()):>7.1f}"
        )


if __name__ == "__main__":
    main()
