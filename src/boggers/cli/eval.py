"""`boggers eval`: a run's held-out numbers beside those of n-gram models."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from boggers.cli.parse import parse
from boggers.cli.relaxing import Relaxing
from boggers.evals.render import render
from boggers.evals.report import evaluate
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

    relaxing: Relaxing = field(default_factory=Relaxing)
    """With either of these the run's own eval.json is left as it is."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""


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
        relax_steps=options.relaxing.relax_steps,
        relax_tolerance=options.relaxing.relax_tolerance,
        device=str(choose_device(options.device)),
    )
    print(render(report))
    if options.json is not None:
        write_json(options.json, report.to_json())
