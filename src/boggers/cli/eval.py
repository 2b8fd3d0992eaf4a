"""`boggers eval`: a run's held-out numbers beside those of n-gram models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from boggers.cli.parse import parse
from boggers.cli.report import print_evaluation
from boggers.evals.report import evaluate
from boggers.files import write_json


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What `boggers eval` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    corpus: str | None = None
    """Measure on the whole of this text instead of the run's own held-out part."""

    json: Path | None = None
    """Write the numbers to this file as well."""


def run(argv: list[str]) -> None:
    """Measure, print, and keep what was asked for."""
    options = parse(
        EvalOptions,
        argv,
        verb="eval",
        description="Measure a run on text that it has not seen, beside n-gram models.",
    )
    values = evaluate(options.run, corpus=options.corpus).to_json()
    print_evaluation(Console(), values)
    if options.json is not None:
        write_json(options.json, values)
