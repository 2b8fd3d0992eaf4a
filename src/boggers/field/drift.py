"""Drifts: motions of a wave that are the gradient of nothing, and are declared so.

A drift takes one step x → x' of every wave under a signal u, the token that it listens to. Three
are known: a small network per wave, diffusion heads, and low-rank heads with a cubic term.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from boggers.errors import UserError
from boggers.field.waves import clamp_waves

WaveRows = Float[Tensor, "B N C"]
"""The waves of B states."""

HeadRows = Float[Tensor, "B N H c"]
"""What every head adds to a wave."""


class Drift(nn.Module, ABC):
    """One step of every wave, each wave and each row by itself."""

    @abstractmethod
    def forward(self, waves: WaveRows, signal: WaveRows) -> WaveRows:
        """x', from waves x and their signal u."""

    def heads(self, waves: WaveRows, signal: WaveRows) -> HeadRows | None:
        """What each head contributes to the drift, or None where there are no heads."""
        return None


class WaveDrift(Drift):
    """A small network for every wave, around a residual of learned strength.

        y = x + u          x' = y + tanh(ρ) (W₂ gelu(W₁ y + b₁) + b₂)

    Parameters: inner (N, h, C), inner_bias (N, h), outer (N, C, h), outer_bias (N, C), strength ρ
    (N), with h = max(16, 2C).

    Args:
        num_waves: N. wave_dim: C.
        generator: source of the initial weights.
    """

    def __init__(self, num_waves: int, wave_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        hidden = max(16, 2 * wave_dim)
        self.inner = nn.Parameter(torch.empty(num_waves, hidden, wave_dim))
        self.inner_bias = nn.Parameter(torch.zeros(num_waves, hidden))
        self.outer = nn.Parameter(torch.empty(num_waves, wave_dim, hidden))
        self.outer_bias = nn.Parameter(torch.zeros(num_waves, wave_dim))
        self.strength = nn.Parameter(torch.full((num_waves,), 0.1))
        bound = math.sqrt(6 / (hidden + wave_dim))  # Glorot & Bengio 2010
        nn.init.uniform_(self.inner, -bound, bound, generator=generator)
        nn.init.uniform_(self.outer, -bound, bound, generator=generator)

    def forward(self, waves: WaveRows, signal: WaveRows) -> WaveRows:
        fed = waves + signal
        by_wave = fed.transpose(0, 1)
        hidden = F.gelu(
            torch.baddbmm(self.inner_bias[:, None], by_wave, self.inner.transpose(1, 2))
        )
        moved = torch.baddbmm(self.outer_bias[:, None], hidden, self.outer.transpose(1, 2))
        return fed + torch.tanh(self.strength)[:, None] * moved.transpose(0, 1)


class MultiHeadDrift(Drift):
    """H heads, each a low-rank matrix with a decaying diagonal and a centred cubic term.

        A_h = U_h V_h + diag(g_h)          f_h = A_h x_h + α (x_h - mean x_h)³ + u_h
        f_h ← f_h + κ (mean_h f - f_h)     x' = x + dt f, its length held in [1e-3, 12]

    The cut into heads is that of the channels, H = C / c. With κ > 0 heads are drawn to their mean.
    All waves share the heads. Parameters: left U (H, c, r), right V (H, r, c), diagonal g (H, c),
    from -0.4 to -0.1 (-0.55 to -0.25 when strong), cubic α, coupling κ.

    On the hyperboloid (`lorentz`) the first channel of a wave is time, ⟨x, y⟩ = x₀y₀ - Σ x_k y_k.
    A wave is lifted to ⟨x, x⟩ = 1, drifts along the tangent and returns:

        v = f - ⟨x, f⟩ x          x' ∝ x + dt v / (1 + arccosh x₀),   ⟨x', x'⟩ = 1, x₀' > 0

    Args:
        wave_dim: C, divisible by num_heads.
        rank: r. dt: step size, > 0. coupling: κ at the start.
        original: the formulas of the system that this comes from, faults included: x_h A_h instead
            of A_h x_h, heads driven apart, the tangent with the wrong sign and no lifting.

    Raises:
        UserError: the heads do not divide the wave.
    """

    CUBIC = 0.05

    def __init__(
        self,
        wave_dim: int,
        num_heads: int,
        rank: int,
        dt: float,
        coupling: float,
        generator: torch.Generator,
        *,
        strong: bool = False,
        lorentz: bool = False,
        original: bool = False,
    ) -> None:
        super().__init__()
        _require_division(wave_dim, num_heads, "--vectorized-num-heads")
        width = wave_dim // num_heads
        self.num_heads, self.dt = num_heads, dt
        self.lorentz, self.original = lorentz, original
        self.left = nn.Parameter(torch.empty(num_heads, width, rank))
        self.right = nn.Parameter(torch.empty(num_heads, rank, width))
        nn.init.normal_(self.left, std=0.01, generator=generator)
        nn.init.normal_(self.right, std=0.01, generator=generator)
        ends = (-0.55, -0.25) if strong else (-0.4, -0.1)
        self.diagonal = nn.Parameter(torch.linspace(*ends, width).repeat(num_heads, 1))
        self.cubic = nn.Parameter(torch.tensor(self.CUBIC))
        self.coupling = nn.Parameter(torch.tensor(coupling))

    def matrices(self) -> Tensor:
        """A, (H, c, c)."""
        return self.left @ self.right + torch.diag_embed(self.diagonal)

    def heads(self, waves: WaveRows, signal: WaveRows) -> HeadRows:
        x, u = (into_parts(t, self.num_heads) for t in (waves, signal))
        equation = "bnhi,hij->bnhj" if self.original else "bnhj,hij->bnhi"
        turned = torch.einsum(equation, x, self.matrices())
        centred = x - x.mean(dim=-1, keepdim=True)
        each: HeadRows = turned + self.cubic * centred**3 + u
        return each

    def drift(self, waves: WaveRows, signal: WaveRows) -> WaveRows:
        """f, the heads drawn together."""
        each = self.heads(waves, signal)
        apart = each - each.mean(dim=-2, keepdim=True)
        sign = 1.0 if self.original else -1.0
        return (each + sign * self.coupling * apart).flatten(-2)

    def forward(self, waves: WaveRows, signal: WaveRows) -> WaveRows:
        if self.lorentz:
            moved = self._on_hyperboloid(waves, signal)
        else:
            moved = waves + self.dt * self.drift(waves, signal)
        return clamp_waves(moved, 1)

    def _on_hyperboloid(self, waves: WaveRows, signal: WaveRows) -> WaveRows:
        x = waves if self.original else _lift(waves)
        f = self.drift(x, signal)
        along = minkowski(x, f) * x
        v = f + along if self.original else f - along
        v = v / (1 + torch.arccosh(x[..., :1].clamp_min(1 + 1e-6)))
        out = x + self.dt * v
        out = out / (minkowski(out, out).abs() + 1e-8).sqrt()
        return torch.cat([out[..., :1].abs(), out[..., 1:]], dim=-1)


class DiffusionDrift(Drift):
    """H diffusion heads, mixed, weighted and added to a decaying state that hears its signal.

        d_h = M_h x_h          m = P concat_h(H w_h d_h)
        L   = x + σ(g) m  with residual mixing, else m
        f   = L + 0.032 tanh(x - mean x) + ½ β u - 0.1 x          x' = (x + dt f) / ‖x + dt f‖

    shared: every head sees the whole wave, M (H, C, C); split: each its own C/H channels. M starts
    as Q diag(λ) Qᵀ with λ from -0.55 to -0.25; kept negative definite it is -(AAᵀ + 0.01 I), with A
    scaled so that no eigenvalue passes -1. w_h = 1/H, or softmax over heads of minus the head's
    tension, the mean square of what it sees. All waves share the heads. Parameters: heads M, mix P
    (C, H·C or C), gate g where mixing is residual, signal_gain β.

    Args:
        wave_dim: C. num_heads: H, dividing C when split.
        split: heads have channels of their own.
        dt: step size, > 0.
        residual: mix on top of the state. gate: σ(g) at the start, in (0, 1).
        by_tension: weigh heads by their tension.
        negative_definite: M by construction, whatever training does.

    Raises:
        UserError: the heads do not divide the wave, or the gate is out of range.
    """

    def __init__(
        self,
        wave_dim: int,
        num_heads: int,
        dt: float,
        generator: torch.Generator,
        *,
        split: bool = False,
        residual: bool = True,
        gate: float = 0.1,
        by_tension: bool = False,
        negative_definite: bool = False,
    ) -> None:
        super().__init__()
        if split:
            _require_division(wave_dim, num_heads, "--phase1-num-heads")
        width = wave_dim // num_heads if split else wave_dim
        self.num_heads, self.dt, self.split = num_heads, dt, split
        self.by_tension, self.negative_definite = by_tension, negative_definite
        spread = torch.rand(num_heads, width, generator=generator)
        basis = torch.linalg.qr(torch.randn(num_heads, width, width, generator=generator)).Q
        level = -0.25 - 0.3 * spread
        start = (
            basis * (-level).sqrt()[:, None]
            if negative_definite
            else (basis * level[:, None] @ basis.transpose(1, 2))
        )
        self.diffusion = nn.Parameter(start)
        blocks = [torch.eye(wave_dim)] if split else [torch.eye(wave_dim) / num_heads] * num_heads
        self.mix = nn.Parameter(torch.cat(blocks, dim=1))
        self.gate: nn.Parameter | None = None
        if residual:
            if not 0 < gate < 1:
                raise UserError(f"--phase2-mixing-gate-init must be in (0, 1); it is {gate}.")
            self.gate = nn.Parameter(torch.tensor(math.log(gate / (1 - gate))))
        self.signal_gain = nn.Parameter(torch.tensor(0.75))

    def matrices(self) -> Tensor:
        """M, (H, c, c)."""
        if not self.negative_definite:
            return self.diffusion
        square = self.diffusion @ self.diffusion.transpose(1, 2)
        # The trace bounds the largest eigenvalue, so a step of this size cannot overshoot.
        size = square.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1.0)[:, None, None]
        eye = torch.eye(square.shape[-1], dtype=square.dtype, device=square.device)
        return -(square / size + 0.01 * eye)

    def weights(self, waves: WaveRows) -> Float[Tensor, "B N H"]:
        """w, how much each head counts; they sum to 1."""
        seen = self._seen(waves)
        if not self.by_tension:
            return torch.full_like(seen[..., 0], 1 / self.num_heads)
        return torch.softmax(-seen.square().mean(dim=-1), dim=-1)

    def heads(self, waves: WaveRows, signal: WaveRows) -> HeadRows:
        return torch.einsum("bnhj,hij->bnhi", self._seen(waves), self.matrices())

    def forward(self, waves: WaveRows, signal: WaveRows) -> WaveRows:
        weighted = self.num_heads * self.weights(waves)[..., None] * self.heads(waves, signal)
        mixed = F.linear(weighted.flatten(-2), self.mix)
        linear = mixed if self.gate is None else waves + torch.sigmoid(self.gate) * mixed
        bent = 0.032 * torch.tanh(waves - waves.mean(dim=-1, keepdim=True))
        drift = linear + bent + 0.5 * self.signal_gain * signal - 0.1 * waves
        moved = waves + self.dt * drift
        return F.normalize(moved, dim=-1, eps=1e-8)

    def _seen(self, waves: WaveRows) -> HeadRows:
        if self.split:
            return into_parts(waves, self.num_heads)
        return waves[..., None, :].expand(*waves.shape[:-1], self.num_heads, waves.shape[-1])


def into_parts(x: Tensor, parts: int) -> Tensor:
    """The last axis cut into so many equal parts: (…, n) → (…, parts, n / parts)."""
    return x.reshape(*x.shape[:-1], parts, x.shape[-1] // parts)


def minkowski(x: Tensor, y: Tensor) -> Tensor:
    """⟨x, y⟩ = x₀ y₀ - Σ_{k>0} x_k y_k over the last axis, which is kept."""
    product = x * y
    return product[..., :1] - product[..., 1:].sum(dim=-1, keepdim=True)


def head_diversity(heads: HeadRows) -> Tensor:
    """Mean cosine between the drifts of two heads of a wave; 0 when all are at right angles.

    Raises:
        UserError: there is only one head.
    """
    count = heads.shape[-2]
    if count < 2:
        raise UserError("Heads can only differ if there are two or more; one came.")
    unit = F.normalize(heads, dim=-1, eps=1e-8)
    # The sum over pairs of different heads is the squared length of the sum, less the heads' own.
    pairs = unit.sum(dim=-2).square().sum(dim=-1) - unit.square().sum(dim=(-2, -1))
    return (pairs / (count * (count - 1))).mean()


def _lift(waves: WaveRows) -> WaveRows:
    """The point of the hyperboloid above a wave's space channels."""
    space = waves[..., 1:]
    return torch.cat([(1 + space.square().sum(dim=-1, keepdim=True)).sqrt(), space], dim=-1)


def _require_division(wave_dim: int, num_heads: int, flag: str) -> None:
    if num_heads < 1 or wave_dim % num_heads:
        raise UserError(
            f"{flag} must divide the width of a wave, --state-dim over --num-waves; {num_heads} "
            f"heads and a width of {wave_dim} came."
        )
