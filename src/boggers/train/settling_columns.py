"""What the settling of one batch looked like, by the columns of the batch table."""

import math

import torch
from torch import Tensor

from boggers.dynamics.record import Relaxation
from boggers.field.drift import DiffusionDrift, into_parts
from boggers.field.energy import WaveEnergy
from boggers.field.tension import TensionEnergy, TensionWeights, tension
from boggers.model.token import TokenReading
from boggers.model.window import WindowModel
from boggers.train.tables import Cell

STILL = 1e-3
"""A position that moved less than this in a step stagnates."""

Row = dict[str, Cell]


def window_columns(model: WindowModel, found: Relaxation, heads: int = 1) -> Row:
    """How a batch of windows settled.

    Args:
        model: whose physics it was.
        found: the relaxation, with its path, kicks and curves.
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
