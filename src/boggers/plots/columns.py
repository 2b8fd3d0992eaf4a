"""Every numeric column of any table of a run, as small curves under one another."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from boggers.errors import UserError
from boggers.plots.canvas import COLOURS, canvas, save

ACROSS = ("global_step", "step", "epoch")
"""Columns that others are drawn against, the first that a table has."""

PANELS = 12
PER_ROW = 3

UNITS = {
    "bpb": "bits per byte",
    "ce": "nats per token",
    "entropy": "nats",
    "loss": "nats",
    "lr": "per step",
    "norm": "state units",
    "seconds": "s",
    "second": "tokens/s",
    "sec": "s",
    "tokens": "tokens",
    "steps": "steps",
    "count": "count",
    "batches": "batches",
    "failures": "count",
    "frac": "share",
    "fraction": "share",
    "cos": "cosine",
    "margin": "cosine",
    "residual": "state units",
    "ppl": "tokens",
    "evolves": "count",
    "skipped": "steps",
    "breaks": "count",
    "used": "steps",
}
"""Units by a word of the column's name; what has none is dimensionless."""


def draw_columns(table: Path, target: Path) -> list[Path]:
    """Draw every column of a CSV that holds numbers, twelve a picture.

    A cell with several numbers, parted by semicolons, gives several columns. Cells that are empty
    or no number are left out; a column without any number is not drawn.

    Args:
        table: the file, its first line the names.
        target: where the pictures go; with -2, -3 … from the second on.

    Raises:
        UserError: the file cannot be read or holds no numbers.
    """
    columns = numeric_columns(table)
    across = next((name for name in ACROSS if name in columns), None)
    names = [name for name in columns if name != across]
    if not names:
        raise UserError(f"{table} holds no numbers to draw: train for some steps first.")
    rows = len(next(iter(columns.values())))
    steps = columns[across] if across else [float(row) for row in range(rows)]
    label = {"epoch": "epoch", None: "row"}.get(across, "optimiser steps")
    drawn = []
    for first in range(0, len(names), PANELS):
        some = names[first : first + PANELS]
        number = "" if first == 0 else f"-{first // PANELS + 1}"
        path = target.with_name(target.name + number)
        drawn += _draw(some, columns, steps, label, path)
    return drawn


def numeric_columns(table: Path) -> dict[str, list[float]]:
    """The columns of a CSV that hold at least one finite number; other cells are NaN.

    Raises:
        UserError: the file cannot be read as a table.
    """
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read as a table: {error}.") from error
    if len(rows) < 2:
        raise UserError(f"{table} has no rows yet: train for some steps first.")
    head, body = rows[0], rows[1:]
    found: dict[str, list[float]] = {}
    for place, name in enumerate(head):
        cells = [row[place] if place < len(row) else "" for row in body]
        found.update(_numbers(name, cells))
    return {
        name: values
        for name, values in found.items()
        if any(math.isfinite(value) for value in values)
    }


def unit_of(name: str) -> str:
    """The unit of a column, by the words of its name."""
    words = name.lower().split("_")
    for word in reversed(words):
        if word in UNITS:
            return UNITS[word]
    return "dimensionless"


def _numbers(name: str, cells: Sequence[str]) -> dict[str, list[float]]:
    """One column of numbers, or as many as a cell has parts."""
    width = max((cell.count(";") + 1 for cell in cells), default=1)
    if width == 1:
        return {name: [_number(cell) for cell in cells]}
    parts = [cell.split(";") for cell in cells]
    return {
        f"{name}_{i}": [_number(part[i]) if i < len(part) else math.nan for part in parts]
        for i in range(width)
    }


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _draw(
    names: Sequence[str],
    columns: dict[str, list[float]],
    steps: Sequence[float],
    label: str,
    target: Path,
) -> list[Path]:
    rows = -(-len(names) // PER_ROW)
    with canvas(PER_ROW, rows, width=10.5, height=2.3 * rows + 0.3) as (figure, panels):
        for number, (panel, name) in enumerate(zip(panels, names, strict=False)):
            points = [
                (step, value)
                for step, value in zip(steps, columns[name], strict=True)
                if math.isfinite(step) and math.isfinite(value)
            ]
            marker = "." if len(points) < 30 else ""
            panel.plot(
                [step for step, _ in points],
                [value for _, value in points],
                color=COLOURS[number % len(COLOURS)],
                linewidth=1.2,
                marker=marker,
            )
            panel.set(title=name, xlabel=label, ylabel=unit_of(name))
            panel.title.set_fontsize(9)
            panel.xaxis.label.set_fontsize(8)
            panel.yaxis.label.set_fontsize(8)
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        return save(figure, target)
