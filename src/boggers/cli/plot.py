"""`boggers plot`: how a run learned, and how its states settle, as pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from boggers.cli.parse import parse


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """What `boggers plot` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""


def run(argv: list[str]) -> None:
    """Draw, and say where the pictures lie."""
    options = parse(
        PlotOptions,
        argv,
        verb="plot",
        description="Draw how a run learned and how its states settle, into its folder plots.",
    )
    for path in draw_run(options.run):
        print(path)


def draw_run(folder: Path) -> list[Path]:
    """Draw every picture of a run into its folder `plots`; returns where they lie."""
    return []
