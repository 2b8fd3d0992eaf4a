"""`boggers eval`: a run's held-out numbers beside those of n-gram models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from boggers.cli.parse import parse
from boggers.errors import UserError
from boggers.evals.report import evaluate, render
from boggers.files import write_json
from boggers.train.run import choose_device


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What `boggers eval` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    corpus: str | None = None
    """Measure on the whole of this text instead of the run's own held-out part."""

    json: Path | None = None
    """Write the numbers to this file as well."""

    relax_steps: Annotated[int | None, tyro.conf.arg(aliases=("--max-relax-steps",))] = None
    """Let states settle for so many steps at most, instead of those of the training; 0 reads them
    unsettled. The run's own eval.json is then left as it is."""

    relax_tolerance: float | None = None
    """Let a window rest once its energy changes by less than this in a step; a position of a
    stream, once a step moves it by less than this share of its length. The run's own eval.json is
    then left as it is."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.relax_steps is not None and self.relax_steps < 0:
            raise UserError(f"--relax-steps must be at least 0; it is {self.relax_steps}.")
        if self.relax_tolerance is not None and self.relax_tolerance < 0:
            raise UserError(f"--relax-tolerance must be at least 0; it is {self.relax_tolerance}.")


def run(argv: list[str]) -> None:
    """Measure, print, and keep what was asked for."""
    options = parse(
        EvalOptions,
        argv,
        verb="eval",
        description="Measure a run on text that it has not seen, beside n-gram models.",
    )
    report = evaluate(
        options.run,
        corpus=options.corpus,
        relax_steps=options.relax_steps,
        relax_tolerance=options.relax_tolerance,
        device=str(choose_device(options.device)),
    )
    print(render(report))
    if options.json is not None:
        write_json(options.json, report.to_json())
