"""A row of 56 columns for every batch: what the settling of its windows or tokens looked like."""

import torch
import torch.nn.functional as F

from boggers.model.window import WindowModel
from boggers.train.observers import BatchEvent, EpochEvent, EvalEvent, FitResult, StepEvent
from boggers.train.prepare import Prepared
from boggers.train.run import RunConfig
from boggers.train.settling_columns import Row, token_columns, window_columns
from boggers.train.tables import Table

BATCH_COLUMNS = (
    "epoch",
    "batch_idx",
    "global_step",
    "tension_curve_final",
    "student_T_total",
    "student_T_energy",
    "student_T_align",
    "student_T_entropy",
    "outer_mean_T_total",
    "outer_mean_T_energy",
    "outer_mean_T_align",
    "outer_mean_T_entropy",
    "state_norm_mean",
    "state_norm_std",
    "win_delta_l2_mean",
    "stagnation_frac",
    "cos_pos",
    "cos_neg",
    "margin",
    "break_high_count",
    "break_low_jitter_count",
    "break_avg_t_pre",
    "break_avg_t_post",
    "interaction_dt_scale",
    "token_break_high_count",
    "token_low_tension_exit_count",
    "token_break_avg_t_pre",
    "token_break_avg_t_post",
    "loss_traj_core",
    "loss_traj_full",
    "batch_ce",
    "phase1_interaction_rms",
    "phase1_tension_heads_mean",
    "phase1_head_div_loss",
    "phase2_break_direction_norm_mean",
    "phase2_break_applied_alpha_mean",
    "phase2_break_delta_tension_mean",
    "phase2_break_delta_alignment_mean",
    "phase2_head_weight_entropy",
    "phase2_interaction_reg_loss",
    "attractor_steps_used",
    "attractor_steps_mean_lifetime",
    "final_window_tension_diag",
    "break_count_window",
    "convergence_triggered",
    "energy_descent_base_mean",
    "energy_descent_tension_mean",
    "energy_descent_total_mean",
    "energy_per_wave_means",
    "energy_potential_mean",
    "energy_reg_mean_sq",
    "energy_reg_weighted",
    "anchor_energy_mean",
    "anchor_energy_std",
    "frozen_fraction_mean",
    "frozen_fraction_std",
)
"""In the order of the original."""

FLUSH = 32
"""Rows that are gathered before they are written."""


class BatchRecords:
    """Writes the table; a measurement that does not apply to the run stays empty."""

    watches = True

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        record = prepared.config.record
        path = record.batch_metrics_csv or prepared.run.folder / "batches.csv"
        self.table = Table(path, BATCH_COLUMNS, prepared.progress.step or None)
        self.rows: list[Row] = []
        self.taken = self.seen = 0.0

    def on_batch(self, event: BatchEvent) -> None:
        """Measure one batch; waits for the device."""
        row: Row = {
            "epoch": event.epoch,
            "batch_idx": event.index,
            "global_step": event.step,
            "batch_ce": float(event.loss.parts["train_ce"]),
            **_loss_columns(event, self.prepared.config),
        }
        with torch.no_grad():
            model, found = self.prepared.model, event.loss.relaxation
            if isinstance(model, WindowModel) and found is not None:
                heads = self.prepared.config.tension_heads
                row |= window_columns(model, found, heads)
            elif event.loss.reading is not None:
                row |= token_columns(event.loss.reading)
        steps = row.get("attractor_steps_used")
        if isinstance(steps, float):
            self.taken, self.seen = self.taken + steps, self.seen + 1
            row["attractor_steps_mean_lifetime"] = self.taken / self.seen
        self.rows.append(row)
        if len(self.rows) >= FLUSH:
            self._flush()

    def on_step(self, event: StepEvent) -> None:
        """Nothing to do: the batch has been recorded."""

    def on_eval(self, event: EvalEvent) -> None:
        """Measurements of the held-out text are no part of a batch."""

    def on_epoch(self, event: EpochEvent) -> None:
        """Write what has been gathered."""
        self._flush()

    def on_end(self, result: FitResult) -> None:
        """Write what has been gathered."""
        self._flush()

    def _flush(self) -> None:
        self.table.append(*self.rows)
        self.rows = []


def _loss_columns(event: BatchEvent, config: RunConfig) -> Row:
    parts, weights = event.loss.parts, config.loss.weights
    row: Row = {}
    for column, name in (
        ("loss_traj_core", "trajectory_contrast"),
        ("phase1_head_div_loss", "head_diversity"),
        ("phase2_interaction_reg_loss", "interaction_penalty"),
    ):
        if name in parts:
            row[column] = float(parts[name])
    # All terms but the two that read tokens.
    apart = (("token_auxiliary", weights.token), ("readout_auxiliary", weights.readout))
    total = float(event.loss.total.detach())
    full = total - sum(w * float(parts[n]) for n, w in apart if n in parts)
    row["loss_traj_full"] = full
    if "energy_regulariser" in parts:
        row["energy_reg_weighted"] = weights.energy * float(parts["energy_regulariser"])
    path = None if event.loss.relaxation is None else event.loss.relaxation.path
    if path is not None and len(path) > 1 and len(path[0]) > 1:
        own, following = (torch.stack(p).detach().flatten(2) for p in (path[:-1], path[1:]))
        like = F.cosine_similarity(own, following, dim=-1).mean()
        unlike = F.cosine_similarity(own, following.roll(1, dims=1), dim=-1).mean()
        row |= {"cos_pos": float(like), "cos_neg": float(unlike), "margin": float(like - unlike)}
    return row
