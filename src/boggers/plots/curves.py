"""How a run learned: its table of measurements as curves."""

import csv
import math
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.plots.canvas import COLOURS, canvas, save


def draw_training(metrics: Path, target: Path) -> list[Path]:
    """Cross-entropy, held-out bits per byte and learning rate against steps.

    Args:
        metrics: a run's metrics.csv.
        target: where the picture goes, without suffix.

    Raises:
        UserError: the table is missing or empty.
    """
    columns = _read(metrics)
    figure, (loss, bits, rate) = canvas(3)
    _line(loss, columns, "train_ce", "training", COLOURS[0])
    _line(loss, columns, "val_ce", "held-out", COLOURS[1], marker="o")
    loss.set(title="Cross-entropy", xlabel="optimiser step", ylabel="nats per token")
    loss.legend()
    _line(bits, columns, "val_bpb", "held-out", COLOURS[1], marker="o")
    bits.set(title="Held-out bits per byte", xlabel="optimiser step", ylabel="bits per byte")
    _line(rate, columns, "lr", "learning rate", COLOURS[2])
    rate.set(title="Learning rate", xlabel="optimiser step", ylabel="rate", ylim=(0, None))
    return save(figure, target)


def _read(metrics: Path) -> dict[str, list[float]]:
    if not metrics.is_file():
        raise UserError(f"{metrics} does not exist: the run has measured nothing yet.")
    with metrics.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise UserError(f"{metrics} has no rows yet: train for some steps first.")
    return {name: [_number(row[name]) for row in rows] for name in rows[0]}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _line(
    axes: Any, columns: dict[str, list[float]], name: str, label: str, colour: str, marker: str = ""
) -> None:
    """A column against the steps, without the rows in which it was not measured."""
    pairs = [
        (step, value)
        for step, value in zip(columns["step"], columns.get(name, []), strict=False)
        if math.isfinite(value)
    ]
    if pairs:
        steps, values = zip(*pairs, strict=True)
        axes.plot(steps, values, label=label, color=colour, marker=marker, markersize=3)
