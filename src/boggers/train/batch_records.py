"""A row of 56 columns for every batch: what the settling of its windows or tokens looked like."""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from boggers.dynamics.record import Kick, Relaxation
from boggers.field.drift import DiffusionDrift, into_parts
from boggers.field.energy import WaveEnergy
from boggers.field.tension import TensionEnergy, TensionWeights, tension
from boggers.files import write_bytes
from boggers.model.token import TokenReading
from boggers.model.window import WindowModel
from boggers.train.observers import BatchEvent, EpochEvent, EvalEvent, FitResult, StepEvent
from boggers.train.prepare import Prepared
from boggers.train.run import RunConfig
from boggers.train.tables import Cell, Table

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

STILL = 1e-3
"""A position that moved less than this in a step stagnates."""

BREAKS = "breaks.safetensors"

Row = dict[str, Cell]


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
                row |= window_columns(model, found, event, heads)
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


class BreakMemory:
    """Keeps the states before and after the latest break in the run's folder."""

    watches = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / BREAKS
        self.kick: Kick | None = None

    def on_batch(self, event: BatchEvent) -> None:
        """Remember the batch's last step that broke anything."""
        found = event.loss.relaxation
        for kick in reversed((found.kicks or ()) if found is not None else ()):
            if bool((kick.before != kick.after).any()):
                self.kick = kick
                return

    def on_step(self, event: StepEvent) -> None:
        """Nothing to do: the batch has been seen."""

    def on_eval(self, event: EvalEvent) -> None:
        """Nothing breaks that is learned from."""

    def on_epoch(self, event: EpochEvent) -> None:
        """Write the latest break."""
        self._write()

    def on_end(self, result: FitResult) -> None:
        """Write the latest break."""
        self._write()

    def _write(self) -> None:
        if self.kick is not None:
            parts = {"before": self.kick.before, "after": self.kick.after}
            write_bytes(self.path, save({name: v.contiguous() for name, v in parts.items()}))


def window_columns(model: WindowModel, found: Relaxation, event: BatchEvent, heads: int = 1) -> Row:
    """How a batch of windows settled.

    Args:
        model: whose physics it was.
        found: the relaxation, with its path, kicks and curves.
        event: the batch.
        heads: parts of a position whose tension is measured apart.
    """
    weights, state = model.config.weights, found.state.detach()
    row: Row = {
        "attractor_steps_used": float(found.steps.float().mean()),
        "convergence_triggered": float((found.steps < model.config.num_dynamics_steps).sum()),
        "break_count_window": float(found.breaks.sum()),
    }
    if len(found.tension):
        row["tension_curve_final"] = row["final_window_tension_diag"] = float(
            found.tension[-1].mean()
        )
        row["energy_potential_mean"] = float(found.energy[-1].mean())
        row["energy_reg_mean_sq"] = float(found.energy[-1].square().mean())
    student = _tensions(model, state, weights)
    row |= {f"student_T_{name}": value for name, value in student.items()}
    path = [step.detach() for step in found.path or ()]
    if path:
        each = [_tensions(model, step, weights) for step in path]
        for name in student:
            row[f"outer_mean_T_{name}"] = sum(step[name] for step in each) / len(each)
        row |= _motion_columns(path)
    if found.coupling_scale is not None:
        row["interaction_dt_scale"] = float(found.coupling_scale.mean())
    if found.frozen is not None:
        share = found.frozen.float().mean(dim=(1, 2))
        row["frozen_fraction_mean"] = float(share.mean())
        row["frozen_fraction_std"] = float(share.std(correction=0))
    if model.interaction is not None:
        mixed = torch.einsum("ij,bjd->bid", model.interaction.operator(), state)
        scaled = mixed / (model.interaction.scale or 1.0)
        row["phase1_interaction_rms"] = float((scaled.square().mean() + 1e-12).sqrt())
    if heads > 1:
        parts = [tension(part.contiguous(), weights).total for part in state.chunk(heads, dim=-1)]
        row["phase1_tension_heads_mean"] = float(torch.stack(parts).mean())
    if isinstance(model.drift, DiffusionDrift):
        share = model.drift.weights(into_parts(state.flatten(0, 1), model.config.num_waves))
        entropy = -(share * share.clamp_min(1e-12).log()).sum(dim=-1)
        row["phase2_head_weight_entropy"] = float(entropy.mean())
    return row | _energy_columns(model, state) | _break_columns(model, found)


def token_columns(reading: TokenReading) -> Row:
    """How a batch of tokens was followed."""
    steps, breaks = reading.settled("steps"), reading.settled("breaks")
    count = float(breaks.sum())
    energies = reading.fast.detach().square().sum(dim=-1)
    return {
        "tension_curve_final": float(reading.settled("tension").mean()),
        "attractor_steps_used": float(steps.mean()),
        "convergence_triggered": float((steps < steps.max()).sum()),
        "token_break_high_count": count,
        "token_low_tension_exit_count": float((steps < steps.max()).sum()),
        "token_break_avg_t_pre": float(reading.settled("broken_before").sum()) / count
        if count
        else None,
        "token_break_avg_t_post": float(reading.settled("broken_after").sum()) / count
        if count
        else None,
        "state_norm_mean": float(energies.sqrt().mean()),
        "state_norm_std": float(energies.sqrt().std(correction=0)),
        "energy_potential_mean": float(energies.mean()),
        "energy_reg_mean_sq": float(energies.square().mean()),
    }


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


def _tensions(model: WindowModel, state: Tensor, weights: TensionWeights) -> dict[str, float]:
    logits = model.read(state) if model.config.tension_entropy else None
    parts = tension(state, weights, logits)
    return {
        "total": float(parts.total.mean()),
        "energy": float(parts.energy.mean()),
        "align": float(parts.alignment.mean()),
        "entropy": float(parts.entropy.mean()),
    }


def _motion_columns(path: list[Tensor]) -> Row:
    states = torch.stack(path)
    lengths = states.norm(dim=-1)
    row: Row = {
        "state_norm_mean": float(lengths.mean()),
        "state_norm_std": float(lengths.std(correction=0)),
        "win_delta_l2_mean": float((states[:, :, 1:] - states[:, :, :-1]).norm(dim=-1).mean()),
    }
    if len(path) > 1:
        moved = (states[1:] - states[:-1]).norm(dim=-1)
        row["stagnation_frac"] = float((moved < STILL).float().mean())
    return row


def _energy_columns(model: WindowModel, state: Tensor) -> Row:
    row: Row = {}
    base = torch.zeros(len(state), device=state.device)
    system = model.system()
    for term in system.energies:
        value = term.energy(state)
        if isinstance(term, TensionEnergy):
            row["energy_descent_tension_mean"] = float(value.mean())
        elif type(term).__name__ == "AnchorEnergy":
            row["anchor_energy_mean"] = float(value.mean())
            row["anchor_energy_std"] = float(value.std(correction=0))
        else:
            base = base + value
        if isinstance(term, WaveEnergy):
            means = term.per_wave(state).mean(dim=(0, 1))
            row["energy_per_wave_means"] = ";".join(f"{mean:.6f}" for mean in means.tolist())
    row["energy_descent_base_mean"] = float(base.mean())
    row["energy_descent_total_mean"] = float(system.energy(state).mean())
    return row


def _break_columns(model: WindowModel, found: Relaxation) -> Row:
    """The breaks of all steps: how many of which kind, how far, and what they did."""
    rule = model.config.break_rule
    if rule is None or not found.kicks:
        return {"break_high_count": 0.0, "break_low_jitter_count": 0.0}
    weights = model.config.weights
    sums = dict.fromkeys(("high", "low", "pre", "post", "alpha", "move", "dt", "da"), 0.0)
    for kick, strain in zip(found.kicks, found.tension, strict=True):
        broke = (kick.before != kick.after).flatten(1).any(dim=1)
        if not bool(broke.any()):
            continue
        before, after = (tension(s[broke], weights) for s in (kick.before, kick.after))
        high = strain[broke] > rule.tense
        sums["high"] += float(high.sum())
        sums["low"] += float((~high).sum())
        sums["pre"] += float(before.total.sum())
        sums["post"] += float(after.total.sum())
        sums["alpha"] += float(rule.size(strain[broke]).sum())
        sums["move"] += float((kick.before - kick.start)[broke].norm(dim=-1).mean(dim=1).sum())
        sums["dt"] += float((after.total - before.total).sum())
        sums["da"] += float((before.alignment - after.alignment).sum())
    count = sums["high"] + sums["low"]
    row: Row = {"break_high_count": sums["high"], "break_low_jitter_count": sums["low"]}
    if count and math.isfinite(count):
        row |= {
            "break_avg_t_pre": sums["pre"] / count,
            "break_avg_t_post": sums["post"] / count,
            "phase2_break_direction_norm_mean": sums["move"] / count,
            "phase2_break_delta_tension_mean": sums["dt"] / count,
            "phase2_break_delta_alignment_mean": sums["da"] / count,
        }
        if rule.kind == "directional":
            row["phase2_break_applied_alpha_mean"] = sums["alpha"] / count
    return row
