"""The figures of one measurement, and how they are written down."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boggers.data.split import MINIMUM_WINDOWS
from boggers.evals.bootstrap import Interval
from boggers.evals.inside import Inside
from boggers.evals.leaks import Leak, Overlap
from boggers.probe.diagnosis import Diagnosis
from boggers.train.run import RunConfig

if TYPE_CHECKING:
    from boggers.evals.coupled import CycleReport


@dataclass(frozen=True)
class Baseline:
    """A counting model on the same tokens: nats per token, bits per byte."""

    ce: float
    bpb: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run knows of text it has not seen; all cross-entropies are plain, on every token."""

    val_ce: float
    """Nats per held-out token."""
    val_ppl: float
    """exp(val_ce)."""
    val_bpb: float
    """Bits per UTF-8 byte of the held-out text."""
    val_tokens: int
    params: int
    params_embedding: int
    train_tokens: int
    """Tokens predicted in training, repetitions counted."""
    seconds: float
    """Wall-clock time of the training."""
    steps: int
    """Optimiser steps."""
    relax_steps: int
    """Most relaxation steps of a window, or of a position in each stage."""
    mean_tension: float
    mean_energy: float
    mean_residual: float
    mean_relax_steps: float
    corpus: str
    beats_trigram: bool
    baselines: dict[str, Baseline]

    val_ce_interval: Interval
    val_bpb_interval: Interval
    """95 % by resampling stretches of the held-out text."""
    trigram_margin: Interval
    """Bits per byte of the trigram minus the run's, token by token; above 0 the run is better."""
    accuracy: float
    """Share of held-out tokens that were the likeliest prediction."""
    val_traj_contrast: float | None
    """Hinge of the path contrast at margin 0.2, in cosines; None for runs that take no steps."""
    diagnosis: Diagnosis | None
    overlap: Overlap
    """What the held-out text shares with the training text."""
    leaks: list[Leak]
    """Reasons not to believe the figures; empty if none was found."""
    inside: Inside | None
    """What the full report holds besides."""
    checkpoint: str
    config: RunConfig
    wave_cycle: "CycleReport | None" = None
    """What a living graph came to that felt the run, and whether the run stayed what it was."""
    no_cycle: str | None = None
    """Why there is none, where one would be expected."""

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object; with the original's keys, base, post and config, besides.

        What is not a finite number becomes null, as JSON has no other word for it.
        """
        mine = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        value: dict[str, Any] = plain({**mine, "config": self.config.to_json()})
        base = self._base()
        value["base"] = plain(base)
        cycle = self.wave_cycle
        if cycle is not None:
            value["wave_cycle"] = {**value["wave_cycle"].pop("cycle"), **value["wave_cycle"]}
        # A sound cycle has been seen to leave weights and predictions exactly as they were, so the
        # figures after it are the same.
        value["post"] = plain(base) if cycle is not None and cycle.sound else None
        return value

    def _base(self) -> dict[str, Any]:
        """The figures of the original's two reports under its names, as they are defined here."""
        written = None if self.inside is None else self.inside.generation
        return {
            "val_ce": self.val_ce,
            "val_ppl": self.val_ppl,
            "val_traj_contrast": self.val_traj_contrast,
            "traj_contrast": self.val_traj_contrast,
            "val_windows": self.val_tokens,
            "val_metrics_reliable": not self.leaks and self.val_tokens >= MINIMUM_WINDOWS,
            "mean_tension": self.mean_tension,
            "average_tension": self.mean_tension,
            "distinct_4grams_per_token": None
            if written is None
            else written.written.distinct_4grams_per_token.value,
            "bigram_repetition_rate": None
            if written is None
            else written.written.bigram_repetition_rate.value,
        }


def perplexity(ce: float) -> float:
    """exp(ce), kept within the range of a float."""
    return math.exp(min(ce, 700.0))


def plain(value: Any) -> Any:
    """Dataclasses, paths and numbers as JSON knows them; NaN and infinities are null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
