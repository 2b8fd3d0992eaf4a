"""How a run learned: its table of measurements as curves."""

import math
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.files import read_json
from boggers.plots.canvas import COLOURS, INK, canvas, save
from boggers.train.metrics import read_metrics

EVALUATION = "eval.json"
TRAINING, HELD_OUT, RATE, TENSION = COLOURS[:4]

Columns = dict[str, list[float]]


def draw_training(metrics: Path, target: Path) -> list[Path]:
    """Cross-entropy, held-out bits per byte, learning rate and tension against optimiser steps.

    Where the run has been evaluated (`eval.json` beside its table), the bits per byte of the
    trigram are drawn as a dashed line.

    Args:
        metrics: a run's metrics.csv.
        target: where the picture goes, without suffix.

    Raises:
        UserError: the table is missing or empty.
    """
    columns = _read(metrics)
    with canvas(2, 2, height=5.6) as (figure, (loss, bits, rate, tension)):
        _line(loss, columns, "train_ce", TRAINING, label="training")
        _line(loss, columns, "val_ce", HELD_OUT, label="held-out", marker="o")
        loss.set(title="Cross-entropy", ylabel="nats per token")
        if loss.has_data():
            loss.legend()
        _line(bits, columns, "val_bpb", HELD_OUT, label="this run", marker="o")
        _trigram(bits, metrics.with_name(EVALUATION))
        bits.set(title="Held-out text", ylabel="bits per byte")
        _line(rate, columns, "lr", RATE)
        rate.set(title="Learning rate", ylabel="rate", ylim=(0, None))
        rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _line(tension, columns, "tension", TENSION)
        tension.set(title="Tension of the settled windows", ylabel="tension (dimensionless)")
        for axes in (loss, bits, rate, tension):
            axes.set(xlabel="optimiser steps", xlim=(0, 1.03 * max(columns["step"])))
            if not axes.has_data():
                axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        return save(figure, target)


def _read(metrics: Path) -> Columns:
    if not metrics.is_file():
        raise UserError(f"{metrics} does not exist: the run has measured nothing yet.")
    rows = read_metrics(metrics)
    if not rows:
        raise UserError(f"{metrics} has no rows yet: train for some steps first.")
    return {name: [_number(row[name]) for row in rows] for name in rows[0]}


def _number(text: str | None) -> float:
    """A cell as a number; NaN where nothing was measured."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _line(
    axes: Any, columns: Columns, name: str, colour: str, *, label: str = "", marker: str = ""
) -> None:
    """A column against the steps, without the rows in which it was not measured."""
    pairs = [
        (step, value)
        for step, value in zip(columns["step"], columns.get(name, []), strict=False)
        if math.isfinite(value)
    ]
    if pairs:
        steps, values = zip(*pairs, strict=True)
        # A single row would make a line without length.
        marker = marker or ("o" if len(steps) == 1 else "")
        axes.plot(steps, values, label=label, color=colour, marker=marker, markersize=4)


def _trigram(axes: Any, evaluation: Path) -> None:
    """The trigram's bits per byte, if they have been measured."""
    if not evaluation.is_file():
        return
    trigram = read_json(evaluation).get("baselines", {}).get("trigram")
    if trigram is not None and axes.has_data():
        axes.axhline(
            trigram["bpb"], color=INK, linewidth=1.2, linestyle="--", label="Kneser–Ney trigram"
        )
        axes.legend()
