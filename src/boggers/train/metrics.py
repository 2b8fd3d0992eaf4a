"""metrics.csv: one row per measured step, its columns the fields of `MetricsRow`.

Rows are appended and flushed. On resume, rows after the resumed step are dropped, so that the
file equals that of an undisturbed run in everything but time.
"""

import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from boggers.errors import UserError
from boggers.files import write_text


@dataclass(frozen=True, kw_only=True)
class MetricsRow:
    """What was measured at a step; averages run over the unskipped steps since the last row."""

    step: int
    """Optimiser steps taken."""

    epoch: int
    """The epoch that the step belonged to, counted from 1."""

    lr: float
    """Learning rate of the step."""

    loss: float | None = None
    """Mean objective, every weighted term included."""

    train_ce: float | None = None
    """Mean plain cross-entropy of the training text, in nats, before each update."""

    trajectory_contrast: float | None = None
    """Mean path contrast, before its weight."""

    token_auxiliary: float | None = None
    """Mean shaped cross-entropy, before its weight."""

    readout_auxiliary: float | None = None
    """Mean cross-entropy of the single-state head, before its weight."""

    energy_regulariser: float | None = None
    """Mean squared energy, before its weight."""

    intermediate_ce: float | None = None
    """Mean cross-entropy at every step of settling, before its weight."""

    guidance_mse: float | None = None
    """Mean squared distance to target states, before its weight."""

    anchor_contrast: float | None = None
    """Mean hinge of distances to anchors, before its weight."""

    head_diversity: float | None = None
    """Mean cosine between the drifts of two heads, before its weight."""

    interaction_penalty: float | None = None
    """Squared distance of the free mixing from doing nothing, before its weight."""

    entropy_floor_penalty: float | None = None
    """Mean nats below the entropy floor, before their weight."""

    repulsion: float | None = None
    """Mean cosine with what earlier batches settled to, before its weight."""

    val_ce: float | None = None
    """Plain held-out cross-entropy, in nats per token."""

    val_bpb: float | None = None
    """Held-out bits per byte."""

    diagnosis: str | None = None
    """How settling fared on the held-out text: COLLAPSED, OSCILLATING, DRIFT or HEALTHY."""

    tokens: int
    """Tokens predicted in training so far."""

    tokens_per_second: float | None = None
    """Training speed since the last row, measurements and saving excluded."""

    grad_norm: float | None = None
    """Mean global gradient norm before clipping."""

    tension: float | None = None
    """Mean tension of the settled windows."""

    energy: float | None = None
    """Mean energy of the settled windows."""

    residual: float | None = None
    """Mean length of the last step of settling; of a stream, as a share of the state's length."""

    steps_used: float | None = None
    """Mean relaxation steps per window, or per position of a stage."""

    breaks: float | None = None
    """Mean breaks per window, or per position of a stream."""

    ts_tension: float | None = None
    """Tension of the living graph when it last felt the model."""

    ts_fired: float | None = None
    """Batches so far that the graph felt."""

    ts_evolves: float | None = None
    """Nodes that the graph has grown so far."""

    memory_active: float | None = None
    """Tokens that the memory calls active."""

    memory_deep: float | None = None
    """Tokens that the memory calls deep."""

    skipped: int = 0
    """Steps so far that changed nothing, being not finite."""

    seconds: float
    """Wall-clock time so far."""


COLUMNS = tuple(spec.name for spec in dataclasses.fields(MetricsRow))
TIMING_COLUMNS = ("tokens_per_second", "seconds")


class MetricsFile:
    """Appends rows to a metrics.csv.

    Args:
        path: the file; begun with its header if absent.
        after_step: rows beyond this step are dropped, being about to be measured again.

    Raises:
        UserError: the file has other columns, or cannot be written.
    """

    def __init__(self, path: Path, after_step: int) -> None:
        self.path = path
        kept = _rows_until(path, after_step) if path.exists() else []
        write_text(path, _lines([COLUMNS, *kept]))

    def append(self, row: MetricsRow) -> None:
        """Write one row; measurements that were not taken stay empty."""
        cells = ["" if value is None else str(value) for value in dataclasses.astuple(row)]
        with self._opened() as file:
            file.write(_lines([cells]))

    def flush_to_disk(self) -> None:
        """Make the rows survive a power cut; called before a checkpoint that relies on them."""
        with self._opened() as file:
            os.fsync(file.fileno())

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                yield file
        except OSError as error:
            raise UserError(
                f"{self.path} could not be written: {error.strerror}. Make room, then continue "
                "with --resume auto."
            ) from error


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv as texts by column.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _rows_until(path: Path, step: int) -> list[list[str]]:
    """The whole rows up to `step`; one torn by a crash is dropped."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    if rows and tuple(rows[0]) != COLUMNS:
        raise UserError(
            f"{path} has other columns than this version writes, so it cannot be continued. "
            "Move it away, or start a new run with another --out."
        )
    whole = [row for row in rows[1:] if len(row) == len(COLUMNS) and row[0].isdigit()]
    return [row for row in whole if int(row[0]) <= step]


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
