"""Figures in a text, generated from recorded runs so that they cannot drift from them.

A figure stands between two marks that a reader of the rendered text does not see:

    <!-- figure demo val_bpb .3f -->1.780<!-- end -->

The first names a recorded run (`docs/runs/demo/eval.json`) or contest (`…/contest.json`), a figure
in its report, dots leading into tables (`baselines.trigram.bpb`), and how it is written: a format
of Python's, `million`, `percent` of a share, or `minutes` of seconds.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.evals.contest_record import CONTEST
from boggers.evals.report import EVALUATION
from boggers.files import read_json, write_json
from boggers.train.run import Run

RECORDED = Path("docs") / "runs"
MARK = re.compile(r"(<!-- figure (\S+) (\S+) (\S+) -->)(.*?)(<!-- end -->)", re.DOTALL)
OPENING = "<!-- figure "
OWN: dict[str, Callable[[float], str]] = {
    "million": lambda value: f"{value / 1e6:.1f} million",
    "percent": lambda value: f"{100 * value:.1f} %",
    "minutes": lambda value: f"{round(value) // 60} min {round(value) % 60} s",
}
"""Ways to write a figure that Python's formats do not have."""

QUOTING = (("generation", "examples"), ("attractors", "examples"), (None, "traces"))
"""Where the inside of a report quotes text."""


def filled(text: str, root: Path) -> str:
    """The text with every marked figure as the recorded runs have it.

    Args:
        text: with marks.
        root: the folder that holds `docs/runs`.

    Raises:
        UserError: a mark is torn, or names a run or a figure that is not recorded.
    """
    if text.count(OPENING) != len(MARK.findall(text)):
        raise UserError(
            "Every marked figure must read <!-- figure RUN NAME FORMAT -->…<!-- end -->; one does "
            "not. Mend the mark."
        )
    return MARK.sub(
        lambda mark: f"{mark[1]}{figure(root, mark[2], mark[3], mark[4])}{mark[6]}", text
    )


def figure(root: Path, run: str, name: str, how: str) -> str:
    """One figure of a recorded run, written as asked.

    Raises:
        UserError: it is not recorded, is no number, or cannot be written so.
    """
    folder = root / RECORDED / run
    file = folder / (CONTEST if (folder / CONTEST).is_file() else EVALUATION)
    if not file.is_file():
        raise UserError(f"The run {run!r} is not recorded: there is no {file}.")
    value: Any = read_json(file)
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"{file} has no figure {name!r}.")
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{file}: {name} must be a number, it is {value!r}.")
    if how in OWN:
        return OWN[how](value)
    try:
        return format(value, how)
    except ValueError as error:
        raise UserError(f"{name} of {run} cannot be written as {how!r}: {error}.") from error


def record(run: Path, name: str, root: Path) -> Path:
    """Keep a run's figures and settings in `docs/runs`; returns the folder.

    What quotes the text that the run was measured on is left out: it is not ours to publish.

    Raises:
        UserError: the run has no full report, or one that is not to be believed.
    """
    report = read_json(run / EVALUATION)
    if report.get("inside") is None or report["leaks"]:
        raise UserError(
            f"A record needs a full report without leaks, but {run / EVALUATION} is none. Make one "
            f"with: boggers eval {run}"
        )
    for part, quoting in QUOTING:
        home = report["inside"] if part is None else report["inside"][part]
        if home is not None:
            home.pop(quoting, None)
    folder = root / RECORDED / name
    write_json(folder / EVALUATION, report)
    write_json(folder / Run(run).config_file.name, Run(run).load_config().to_json())
    return folder


def marked(text: str) -> list[tuple[str, str]]:
    """The runs and figures that a text claims, in order."""
    return [(mark[1], mark[2]) for mark in MARK.findall(text)]
