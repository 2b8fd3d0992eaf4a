"""`boggers bench quality`: our models beside well-known ones, on equal terms."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from boggers.cli.parse import parse
from boggers.data.config import DataConfig
from boggers.data.corpus import training_documents
from boggers.data.sequences import Sequences
from boggers.data.split import Split, split
from boggers.data.tokens import TokenCorpus, tokenise
from boggers.errors import UserError
from boggers.evals.contest import Budget
from boggers.evals.contestants import find
from boggers.evals.heldout import HeldOut
from boggers.evals.ngram import KneserNey, bits_per_byte
from boggers.evals.quality import Plan, Standing, Trials, compete
from boggers.evals.trial import Terms
from boggers.files import write_json
from boggers.machine import keep_memory
from boggers.recipes import stream_small
from boggers.text.base import Tokenizer
from boggers.text.config import TextConfig, build_tokenizer
from boggers.train.optim import OptimConfig
from boggers.train.precision import Precision
from boggers.train.run import choose_device
from boggers.train.typed_json import to_json

TABLE_WIDTH = 132

Names = Annotated[str, tyro.conf.arg(metavar="NAME,NAME,…")]
Numbers = Annotated[str, tyro.conf.arg(metavar="N,N,…")]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Train contestants of equal size on the same tokens and judge them on held-out text."""

    contestants: Names = "stream,stream-k2,stream-k0,stream-mlp,llama,lstm"
    """Who takes part, by name; there is mamba besides, which is slow without a GPU."""

    out: Path = Path("runs/quality")
    """Folder of the contest: its trainings, quality.json and the picture. Trainings that it holds
    already are not repeated, so a contest may be interrupted, or run in parts."""

    tokens: int = 3_000_000
    """Predicted tokens of a training."""

    seconds: float | None = None
    """Let every training last so many seconds instead, however many tokens that is."""

    seeds: Numbers = "0,1,2"
    """Each trains everyone once."""

    factors: Numbers = "0.5,1,2"
    """All learning rates are multiplied by each of these at the first seed; the best is kept."""

    sweep_share: float = 1.0
    """Length of a training of the sweep, as a share of a whole one; in (0, 1]."""

    sequence_length: Annotated[int, tyro.conf.arg(aliases=("--seq-len",))] = 256
    """Tokens T of a training sequence."""

    batch_tokens: int = 2048
    """Predicted tokens of an optimiser step, a multiple of the sequence length."""

    context: int | None = None
    """Tokens that every judged token has before it, at least; half a sequence if left out."""

    measurements: int = 8
    """How often a training is judged, its end included."""

    non_embedding: int = 1_000_000
    """Parameters besides the embedding table, the same for all within a few per cent."""

    layers: int = 4
    """Layers, or stages, of a contestant."""

    width: int | None = None
    """Width of the embedding table, the same for all, a multiple of 32; what a transformer of that
    size and depth would have if left out."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    precision: Precision = "auto"
    """What all are trained in; auto: bf16 on CUDA, fp32 elsewhere. They are judged in fp32."""

    text: TextConfig = field(default_factory=lambda: TextConfig(tokenizer="bpe", vocab_size=2048))

    data: DataConfig = field(default_factory=DataConfig)

    optim: OptimConfig = field(default_factory=lambda: stream_small().optim)

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--tokens", self.tokens, 1),
            ("--seconds", self.seconds, 1),
            ("--batch-tokens", self.batch_tokens, 1),
            ("--measurements", self.measurements, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"{flag} must be at least {least}; it is {value}.")
        if not 0 < self.sweep_share <= 1:
            raise UserError(f"--sweep-share must be in (0, 1]; it is {self.sweep_share}.")
        if self.batch_tokens % self.sequence_length:
            raise UserError(
                f"--batch-tokens must be a multiple of --sequence-length {self.sequence_length}; "
                f"it is {self.batch_tokens}."
            )


def run(argv: list[str]) -> None:
    """Hold the contest that was asked for."""
    if not argv or argv[0] not in ("quality", "-h", "--help"):
        came = f"{argv[0]!r} came" if argv else "nothing came"
        raise UserError(f"boggers bench needs to know what to measure: quality; {came}.")
    options = parse(
        Quality,
        argv[1:] if argv[0] == "quality" else argv,
        verb="bench quality",
        description="Train our models and well-known ones on equal terms; see docs/bench.md.",
    )
    # In a file or a pipe the table keeps its columns whole.
    width = None if sys.stdout.isatty() else TABLE_WIDTH
    console = Console(highlight=False, width=width)
    contestants = find([name.strip() for name in options.contestants.split(",") if name.strip()])
    ground = _ground(options)
    plan = Plan(
        contestants=contestants,
        seeds=[int(seed) for seed in _numbers("--seeds", options.seeds)],
        factors=_numbers("--factors", options.factors),
        tokens=options.tokens,
        seconds=options.seconds,
        sweep_share=options.sweep_share,
    )
    trials = Trials(options.out / "trials", ground.terms, ground.described)
    trigram = _trigram(ground)
    keep_memory()
    standings = _watched(plan, trials, console)
    console.print(_table(standings, trigram))
    _keep(options.out, standings, trigram, ground.described, console)


@dataclass(frozen=True)
class Ground:
    """What a contest is held on."""

    tokenizer: Tokenizer
    corpus: TokenCorpus
    parts: Split
    terms: Terms
    described: dict[str, Any]


def _ground(options: Quality) -> Ground:
    tokenizer = build_tokenizer(options.text, training_documents(options.data))
    corpus = tokenise(options.data, tokenizer)
    length = options.sequence_length
    parts = split(len(corpus.ids), options.data.val_fraction, length, flag="--sequence-length")
    budget = Budget(
        vocab_size=tokenizer.vocab_size,
        sequence_length=length,
        non_embedding=options.non_embedding,
        layers=options.layers,
        table_width=options.width,
    )
    held_out = HeldOut(
        ids=corpus.ids,
        byte_lengths=corpus.byte_lengths,
        start=parts.held_out.start,
        stop=parts.held_out.stop,
        length=length,
        context=length // 2 if options.context is None else options.context,
    )
    device = choose_device(options.device)
    terms = Terms(
        budget=budget,
        sequences=Sequences(corpus.ids, parts.train.start, parts.train.stop, length),
        held_out=held_out,
        optim=options.optim,
        batch_tokens=options.batch_tokens,
        measurements=options.measurements,
        device=device,
        precision=options.precision,
    )
    described = {
        "corpus": options.data.source,
        "corpus_key": corpus.key,
        "tokenizer": tokenizer.fingerprint,
        "train": [parts.train.start, parts.train.stop],
        "held_out": [held_out.start, held_out.stop],
        "held_out_bytes": held_out.n_bytes,
        "context": held_out.context,
        "batch_tokens": options.batch_tokens,
        "measurements": options.measurements,
        "device": device.type,
        "precision": options.precision,
        "budget": to_json(budget),
        "optim": to_json(options.optim),
    }
    return Ground(tokenizer, corpus, parts, terms, described)


def _trigram(ground: Ground) -> float:
    """Bits per byte of counting: an interpolated Kneser–Ney trigram of the same tokens."""
    ids, held_out = ground.corpus.ids, ground.parts.held_out
    counted = KneserNey(3, ground.tokenizer.vocab_size)
    counted.fit(ids[ground.parts.train.start : ground.parts.train.stop])
    nats = counted.nats(ids, held_out.start, held_out.stop)
    return bits_per_byte(nats, ground.terms.held_out.n_bytes)


def _watched(plan: Plan, trials: Trials, console: Console) -> list[Standing]:
    """Hold the contest behind a bar, or with a line for every training where there is none."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("")

        def told(who: str, step: int, steps: int, loss: float) -> None:
            if console.is_terminal:
                shown = f"{who}, loss {loss:.3f}"
                bar.update(task, completed=step, total=steps, description=shown)
            elif step == steps or step % 200 == 0:
                console.print(f"{who}: step {step}/{steps}, loss {loss:.3f} nats", markup=False)

        return compete(plan, trials, told)


def _table(standings: Sequence[Standing], trigram: float) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in (
        "bits/byte",
        "lowest–highest",
        "rates x",
        "parameters",
        "not in table",
        "Mflop/token",
        "tokens",
        "seconds",
        "tokens/s",
    ):
        table.add_column(heading, justify="right")
    for standing in standings:
        low, high = standing.spread
        first = standing.outcomes[0]
        table.add_row(
            standing.name,
            f"{standing.mean:.4f}",
            f"{low:.4f}–{high:.4f}",
            f"{standing.factor:g}",
            f"{first.params:,}",
            f"{first.non_embedding:,}",
            f"{first.flops_per_token / 1e6:.2f}",
            f"{first.tokens:,}",
            f"{first.seconds:.0f}",
            f"{first.tokens_per_second:,.0f}",
        )
    table.add_row("trigram (counted)", f"{trigram:.4f}")
    return table


def _keep(
    folder: Path,
    standings: Sequence[Standing],
    trigram: float,
    described: dict[str, Any],
    console: Console,
) -> None:
    rows = [
        {
            "name": standing.name,
            "mean_bpb": standing.mean,
            "lowest_bpb": standing.spread[0],
            "highest_bpb": standing.spread[1],
            **{name: value for name, value in to_json(standing).items() if name != "name"},
        }
        for standing in standings
    ]
    report = {"terms": described, "trigram_bpb": trigram, "standings": rows}
    write_json(folder / "quality.json", report)
    console.print(f"All figures: {folder / 'quality.json'}", markup=False)
    if importlib.util.find_spec("matplotlib") is None:
        console.print(
            "No picture: matplotlib is missing. Install it with: pip install 'boggers[plots]'",
            markup=False,
        )
        return
    from boggers.plots.quality import draw_quality

    curves = {
        standing.name: [
            [
                (p.tokens, p.tokens * outcome.flops_per_token, p.seconds, p.bpb)
                for p in outcome.curve
            ]
            for outcome in standing.outcomes
        ]
        for standing in standings
    }
    for path in draw_quality(curves, folder / "quality"):
        console.print(f"Picture: {path}", markup=False)


def _numbers(flag: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise UserError(
            f"{flag} must be different numbers of at least 0 with commas between them, such as "
            f"0.5,1,2; it is {text!r}."
        )
    return numbers
