"""The options of the drifts, shared by the models that can have one."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from tyro.conf import arg

from boggers.errors import UserError
from boggers.field.drift import DiffusionDrift, Drift, MultiHeadDrift, WaveDrift
from boggers.field.hierarchy import TwoTimescaleDrift

Kind = Literal["waves", "simple", "vectorized", "hierarchical"]

VECTORIZED = ("vectorized_num_heads", "vectorized_rank", "vectorized_coupling")
SIMPLE = ("simple_num_heads", "mixing_gate")
"""Options that only one kind of drift has; None unless given."""


@dataclass(frozen=True, kw_only=True)
class DriftOptions:
    """How the waves of a state drift at each step, besides rolling downhill."""

    dynamics: Literal["waves", "simple", "vectorized", "hierarchical"] | None = None
    """Drift of every wave. waves: a small network each; simple: diffusion heads, mixed; vectorized:
    low-rank heads with a cubic term; hierarchical (token only): vectorized, half of the waves four
    times slower and hearing phrases. None: what an option of a drift implies, else the
    architecture's own (window: none, token: waves)."""

    vectorized_num_heads: int | None = None
    """Heads of a vectorized or hierarchical drift, dividing the width of a wave; None = 4."""

    vectorized_rank: int | None = None
    """Rank of the heads' matrices; None = 64."""

    vectorized_coupling: float | None = None
    """Strength with which heads are drawn to their mean, at the start; None = 0.01."""

    vectorized_strong_diffusion: bool = False
    """Let the heads' diagonal decay from -0.55 to -0.25 instead of -0.4 to -0.1, at the start."""

    use_lorentz: bool = False
    """Let a vectorized drift move on the hyperboloid instead of in flat space."""

    original_drift: bool = False
    """Use the original's formulas of a vectorized drift, with transposed matrices, heads driven
    apart and the tangent of the wrong sign; only to compare."""

    simple_num_heads: Annotated[int | None, arg(name="phase1-num-heads")] = None
    """Heads of a simple drift, at least 1; None = 1."""

    head_dim_mode: Annotated[Literal["shared", "split"], arg(name="phase1-head-dim-mode")] = (
        "shared"
    )
    """shared: every head of a simple drift sees the whole wave; split: its own share of it."""

    linear_mixing: Annotated[bool, arg(name="phase2-disable-residual-mixing")] = False
    """Let the mixed heads of a simple drift replace the state instead of joining it by a gate."""

    mixing_gate: Annotated[float | None, arg(name="phase2-mixing-gate-init")] = None
    """That gate at the start, in (0, 1); None = 0.1."""

    head_tension_weighting: Annotated[bool, arg(name="phase2-enable-head-tension-weighting")] = (
        False
    )
    """Weigh the heads of a simple drift by softmax(-tension) instead of evenly."""

    negative_definite: Annotated[bool, arg(name="phase05-enforce-negdef-diffusion")] = False
    """Keep the diffusion of a simple drift negative definite by construction."""

    def drift_kind(self, otherwise: Kind | None) -> Kind | None:
        """Which drift is meant.

        Raises:
            UserError: options of different drifts came together, or of one that is not chosen.
        """
        vectorized = self._given(
            VECTORIZED, "vectorized_strong_diffusion", "use_lorentz", "original_drift"
        )
        simple = self._given(SIMPLE, "head_tension_weighting", "negative_definite", "linear_mixing")
        if self.head_dim_mode == "split":
            simple.append("--phase1-head-dim-mode split")
        kind = self.dynamics
        if kind is None and vectorized:
            kind = "vectorized"
        if kind is None and simple:
            kind = "simple"
        stray = [
            *(vectorized if kind not in ("vectorized", "hierarchical") else []),
            *(simple if kind != "simple" else []),
        ]
        if stray:
            raise UserError(
                f"{stray[0]} belongs to another drift than --dynamics {kind}. Leave it out, or "
                f"choose --dynamics {'vectorized' if stray[0] in vectorized else 'simple'}."
            )
        if kind == "hierarchical" and self.use_lorentz:
            raise UserError("--use-lorentz needs --dynamics vectorized; hierarchical came.")
        return otherwise if kind is None else kind

    def make_drift(
        self, kind: Kind, num_waves: int, wave_dim: int, dt: float, generator: torch.Generator
    ) -> Drift:
        """The drift of that kind for N waves of C channels, with steps of dt."""
        if kind == "waves":
            return WaveDrift(num_waves, wave_dim, generator)
        if kind == "simple":
            return DiffusionDrift(
                wave_dim,
                self.simple_num_heads or 1,
                dt,
                generator,
                split=self.head_dim_mode == "split",
                residual=not self.linear_mixing,
                gate=0.1 if self.mixing_gate is None else self.mixing_gate,
                by_tension=self.head_tension_weighting,
                negative_definite=self.negative_definite,
            )
        heads = self.vectorized_num_heads or 4
        rank = self.vectorized_rank or 64
        coupling = 0.01 if self.vectorized_coupling is None else self.vectorized_coupling
        if kind == "hierarchical":
            return TwoTimescaleDrift(wave_dim, heads, rank, dt, coupling, generator)
        return MultiHeadDrift(
            wave_dim,
            heads,
            rank,
            dt,
            coupling,
            generator,
            strong=self.vectorized_strong_diffusion,
            lorentz=self.use_lorentz,
            original=self.original_drift,
        )

    def check_drift(self) -> None:
        """Refuse values that no drift can have.

        Raises:
            UserError: a number is out of range.
        """
        for flag, value in (
            ("--vectorized-num-heads", self.vectorized_num_heads),
            ("--vectorized-rank", self.vectorized_rank),
            ("--phase1-num-heads", self.simple_num_heads),
        ):
            if value is not None and value < 1:
                raise UserError(f"{flag} must be at least 1; it is {value}.")
        if self.head_tension_weighting and (self.simple_num_heads or 1) < 2:
            raise UserError(
                "--phase2-enable-head-tension-weighting weighs heads against each other: give two "
                "or more by --phase1-num-heads."
            )

    def _given(self, optional: tuple[str, ...], *switches: str) -> list[str]:
        """The flags among these that were given."""
        names = {
            "simple_num_heads": "--phase1-num-heads",
            "mixing_gate": "--phase2-mixing-gate-init",
            "head_tension_weighting": "--phase2-enable-head-tension-weighting",
            "negative_definite": "--phase05-enforce-negdef-diffusion",
            "linear_mixing": "--phase2-disable-residual-mixing",
        }
        found = [name for name in optional if getattr(self, name) is not None]
        found += [name for name in switches if getattr(self, name)]
        return [names.get(name, f"--{name.replace('_', '-')}") for name in found]
