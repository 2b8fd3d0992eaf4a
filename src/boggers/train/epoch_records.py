"""Rows of an epoch: losses, energies, steps, and measures of the held-out text."""

import math
import time
from pathlib import Path

import torch
from torch import Tensor

from boggers.infer.shaped import settled_paths, shaped_cross_entropy
from boggers.model.window import WindowModel
from boggers.train import losses
from boggers.train.observers import BatchEvent, EpochEvent, EvalEvent, FitResult, StepEvent
from boggers.train.prepare import Prepared
from boggers.train.running import Running, Summary, total
from boggers.train.tables import Cell, Table

EPOCH_COLUMNS = (
    "epoch",
    "loss_mode",
    "mean_loss",
    "train_ce",
    "val_ce",
    "train_traj_contrast",
    "val_traj_contrast",
    "mean_final_step_tension",
    "max_batch_loss",
    "lr",
    "global_step",
    "tscore_evolves",
    "tscore_last_tension",
    "val_ce_plain",
    "val_ppl_plain",
    "val_bpb",
)
FAST_COLUMNS = (
    "epoch",
    "mean_energy",
    "energy_variance",
    "energy_min",
    "energy_max",
    "global_step",
)
STEPS_COLUMNS = (
    "epoch",
    "mean_steps",
    "max_steps",
    "min_steps",
    "convergence_failures",
    "early_convergence_batches",
    "batches",
)
CONTRAST_SEED = 0


class EpochRecords:
    """Observes and records a run; writes the tables that its configuration names.

    What is added up is that of this call: an epoch that was interrupted is recorded from where it
    went on.
    """

    watches = False

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        record, at = prepared.config.record, prepared.progress.recorded or None
        self.epochs = self._table(record.epoch_metrics_csv, EPOCH_COLUMNS, at)
        self.fast = self._table(record.metrics_fast_csv, FAST_COLUMNS, at)
        self.steps = self._table(record.attractor_steps_metrics_csv, STEPS_COLUMNS, None)
        self.measured: EvalEvent | None = None
        self.last: dict[str, Cell] = {}
        """The latest row of the epoch table, written or not."""
        self._begin()

    def on_batch(self, event: BatchEvent) -> None:
        """Add up the batch's numbers, on the device."""
        loss = event.loss
        parts = {"loss": loss.total.detach(), **loss.parts}
        if "tension" in loss.settling:
            parts["tension"] = loss.settling["tension"]
        for name, value in parts.items():
            self.scalars.setdefault(name, Running()).add(value)
        if loss.relaxation is not None and len(loss.relaxation.energy):
            self.energies.add(loss.relaxation.energy[-1])
            self._add_steps(loss.relaxation.steps)
        if loss.reading is not None:
            self.energies.add(loss.reading.fast.detach().square().sum(dim=-1))
            self._add_steps(loss.reading.settled("steps").long())
        self.lr = event.lr

    def on_step(self, event: StepEvent) -> None:
        """Nothing is written between epochs."""

    def on_eval(self, event: EvalEvent) -> None:
        """Remember the latest measurement."""
        self.measured = event

    def on_epoch(self, event: EpochEvent) -> None:
        """Write the epoch's rows."""
        self.last = self._epoch_row(event)
        if self.epochs is not None:
            self.epochs.append({**self.last, "lr": f"{self.lr:.8f}"})
        energies, taken = self.energies.read(), self.taken.read()
        if self.fast is not None and energies is not None:
            self.fast.append(_energy_row(event, energies), digits=8)
        if self.steps is not None and taken is not None:
            self.steps.append(self._steps_row(event, taken))
        self.last["seconds"] = time.monotonic() - self.began
        self._begin()

    def on_end(self, result: FitResult) -> None:
        """Everything is written already."""

    def _begin(self) -> None:
        self.scalars: dict[str, Running] = {}
        self.energies, self.taken, self.early = Running(), Running(), Running()
        self.lr = 0.0
        self.began = time.monotonic()

    def _table(self, path: Path | None, columns: tuple[str, ...], at: int | None) -> Table | None:

        return None if path is None else Table(path, columns, at)

    def _mean(self, name: str) -> float | None:
        found = self._known(name)
        return None if found is None else found.mean

    def _known(self, name: str) -> Summary | None:
        return self.scalars[name].read() if name in self.scalars else None

    def _add_steps(self, steps: Tensor) -> None:
        self.taken.add(steps)
        self.early.add((steps < self.prepared.config.model.num_dynamics_steps).all())

    def _epoch_row(self, event: EpochEvent) -> dict[str, Cell]:
        config = self.prepared.config
        seen = self._known("loss")
        row: dict[str, Cell] = {
            "epoch": event.epoch,
            "loss_mode": config.loss.loss_mode,
            "mean_loss": self._mean("loss"),
            "train_ce": self._mean("train_ce"),
            "train_traj_contrast": self._mean("trajectory_contrast"),
            "mean_final_step_tension": self._mean("tension"),
            "max_batch_loss": None if seen is None else seen.highest,
            "lr": self.lr,
            "global_step": event.step,
        }
        if not self.prepared.split.held_out or self.epochs is None:
            return row
        was_training = self.prepared.model.training
        self.prepared.model.eval()
        # A run that is to end does not wait for it; the cells stay empty.
        held_out = event.attempt(lambda: self._held_out(event)) or {}
        self.prepared.model.train(was_training)
        return row | held_out

    def _held_out(self, event: EpochEvent) -> dict[str, Cell]:
        """What the held-out text says, plainly and in the original's ways."""
        prepared, model = self.prepared, self.prepared.model
        held = prepared.judged
        known = self.measured
        validation = known.validation if known is not None and known.step == event.step else None
        if validation is None and prepared.validate is not None:
            validation = prepared.validate(model, lambda done, total: None)
        row: dict[str, Cell] = {}
        if validation is not None:
            row["val_ce_plain"] = validation.ce
            row["val_ppl_plain"] = math.exp(min(validation.ce, 700.0))
            row["val_bpb"] = validation.bits_per_byte
        if isinstance(model, WindowModel):
            place = prepared.corpus.ids, held.start, held.stop
            row["val_ce"] = shaped_cross_entropy(model, *place)
            row["val_traj_contrast"] = held_out_contrast(prepared, held)
        return row

    def _steps_row(self, event: EpochEvent, taken: Summary) -> dict[str, Cell]:
        flags = self.early.read()
        batches, early = 0 if flags is None else flags.count, total(flags)
        return {
            "epoch": event.epoch,
            "mean_steps": taken.mean,
            "max_steps": int(taken.highest),
            "min_steps": int(taken.lowest),
            "convergence_failures": batches - early,
            "early_convergence_batches": early,
            "batches": batches,
        }


def _energy_row(event: EpochEvent, energies: Summary) -> dict[str, Cell]:
    return {
        "epoch": event.epoch,
        "mean_energy": energies.mean,
        "energy_variance": energies.variance,
        "energy_min": energies.lowest,
        "energy_max": energies.highest,
        "global_step": event.step,
    }


def held_out_contrast(prepared: Prepared, held: range) -> float | None:
    """The path contrast of windows of held-out text, negatives drawn at a fixed seed.

    None where no path is contrasted: without steps, or without windows.
    """
    model, config = prepared.model, prepared.config.loss
    if not isinstance(model, WindowModel) or model.config.num_dynamics_steps < 2:
        return None
    generator = torch.Generator(device=prepared.device).manual_seed(CONTRAST_SEED)
    total = count = 0.0
    for path in settled_paths(model, prepared.corpus.ids, held.start, held.stop):
        with torch.inference_mode():
            value = losses.trajectory_contrast(
                path,
                generator,
                margin=config.trajectory_margin,
                negatives=config.num_negatives if config.multi_negative else 1,
                temperature=config.trajectory_temperature,
            )
        total += float(value) * len(path[0])
        count += len(path[0])
    return total / count if count else None
