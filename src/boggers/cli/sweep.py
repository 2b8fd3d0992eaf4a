"""`boggers sweep`: what one option is worth, with the same seeds and an interval."""

import importlib.util
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from boggers.cli.configuration import changed, read_configuration
from boggers.cli.parse import parse
from boggers.cli.progress import TrainingProgress
from boggers.errors import UserError
from boggers.evals.render import span, table
from boggers.evals.report import Report, evaluate
from boggers.evals.sweep import RESULTS, TABLE, Sweep, sweep
from boggers.machine import keep_memory
from boggers.train.loop import fit
from boggers.train.prepare import prepare
from boggers.train.run import RunConfig

OWN = ("--vary", "--seeds", "--out")

DESCRIPTION = """Train with several values of one option and compare, seed by seed.

    boggers sweep stream-small --corpus book.txt --vary num_dynamics_steps=0,1 --seeds 0,1,2
    boggers sweep window --corpus book.txt --max-epochs 2 --vary lr=1e-3,3e-3 --out runs/rates

Everything besides is as in `boggers train`: a recipe and its flags. What is already trained in
--out is not trained again, so a sweep may be interrupted and repeated."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What `boggers sweep` takes besides the recipe and the flags of `boggers train`."""

    vary: Annotated[str, tyro.conf.arg(metavar="NAME=VALUE,VALUE,…")]
    """The option and its values, under its name in a run's TOML file; the first value is the one
    that others are compared with."""

    seeds: Annotated[str, tyro.conf.arg(metavar="N,N,…")] = "0,1,2"
    """Each trains every value once."""

    out: Path = Path("runs/sweep")
    """Folder of the sweep: its runs, sweep.json, sweep.csv and the picture."""


def run(argv: list[str]) -> int:
    """Train what is to be compared, print and draw what came of it."""
    own, rest = _parted(argv)
    options = parse(SweepOptions, own, verb="sweep", description=DESCRIPTION)
    base = read_configuration([*rest, "--out", str(options.out)])
    name, values = _variation(options.vary)
    configs = [(value, changed(base, {name: _read(value)})) for value in values]
    if base.data.val_fraction == 0:
        raise UserError("A sweep compares on held-out text; use --val-fraction above 0.")
    console = Console(highlight=False, soft_wrap=True)

    def train(config: RunConfig, what: str) -> Report:
        console.print(what, style="bold", markup=False)
        return _trained(config, console)

    found = sweep(name, configs, _seeds(options.seeds), options.out, train)
    console.print(_table(found), markup=False)
    for sentence in found.verdict():
        console.print(sentence, markup=False)
    _keep(found, options.out, console)
    return 0


def _trained(config: RunConfig, console: Console) -> Report:
    prepared = prepare(config)
    keep_memory()
    with TrainingProgress(console, prepared.progress.step) as progress:
        result = fit(prepared, [progress], prepared.validate, told=progress.measuring)
    if result.interrupted:
        raise KeyboardInterrupt
    return evaluate(prepared.run.folder, device=str(prepared.device), full=False)


def _parted(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The sweep's own arguments, and those of training."""
    if {"-h", "--help"} & set(argv):
        return ["--help"], []
    own: list[str] = []
    rest: list[str] = []
    place = 0
    while place < len(argv):
        word = argv[place]
        if word in OWN:
            own += argv[place : place + 2]
            place += 2
            continue
        (own if word.partition("=")[0] in OWN else rest).append(word)
        place += 1
    return own, rest


def _variation(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    found = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not name.strip() or len(found) < 2:
        raise UserError(
            f"--vary must be an option and at least two values, such as lr=1e-3,2e-3; it is "
            f"{text!r}."
        )
    if name.strip() in ("seed", "out", "resume"):
        raise UserError(f"--vary cannot vary {name.strip()}: the sweep itself sets it.")
    return name.strip(), found


def _read(value: str) -> Any:
    """A value as TOML would read it; what is no TOML is a text."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UserError(
            f"--seeds must be whole numbers with commas between them, such as 0,1,2; it is "
            f"{text!r}."
        ) from error


def _table(found: Sweep) -> str:
    rows = [(found.option, "bits per byte, 95 %", "difference, 95 %", "parameters", "seconds")]
    for variant in found.variants:
        seconds = sum(trial.seconds for trial in variant.trials) / len(variant.trials)
        rows.append(
            (
                variant.value,
                span(variant.mean),
                "" if variant.difference is None else span(variant.difference),
                f"{variant.trials[0].params:,}",
                f"{seconds:.0f}",
            )
        )
    return table(rows)


def _keep(found: Sweep, folder: Path, console: Console) -> None:
    console.print(f"Figures: {folder / RESULTS}, {folder / TABLE}", markup=False)
    if importlib.util.find_spec("matplotlib") is None:
        console.print(
            "No picture: matplotlib is missing. Install it with: pip install 'boggers[plots]'",
            markup=False,
        )
        return
    from boggers.plots.sweep import Column, draw_sweep

    columns = [
        Column(
            variant.value,
            [trial.bpb for trial in variant.trials],
            None if (each := variant.difference) is None else (each.value, each.low, each.high),
        )
        for variant in found.variants
    ]
    for path in draw_sweep(found.option, columns, folder / "sweep"):
        console.print(f"Picture: {path}", markup=False)
