"""The metric of a settling: how a force becomes a step."""

import torch
from torch import Tensor, nn

from boggers.shapes import Stream


def fading(steps: int, further: int) -> Tensor:
    """1 for each of the K steps, then ½, ¼, … for further ones: where what is learned begins."""
    return 0.5 ** torch.arange(1 - steps, further + 1).clamp_min(0)


class Metric(nn.Module):
    """A step is the force itself; those beyond the K learned ones go half as far each time.

        Δ_k = h_k f          h_k = 1 within the learned ones, then ½, ¼, …

    What rests in its landscape after a step of rate 1 stays there. A step beyond K feels the past
    g_k strong where steps so many were trained (`further`), and nothing of it otherwise, see
    `dynamics.settle`. Parameters: g, as many as `further`, at the start ½, ¼, …

    Args:
        steps: K ≥ 1.
        further: steps beyond K that are trained as well.
    """

    def __init__(self, steps: int, further: int = 0) -> None:
        super().__init__()
        self.steps = steps
        self.learned = steps + further
        self.gain: nn.Parameter | None = None
        if further:
            self.gain = nn.Parameter(fading(steps, further)[steps:].clone())

    def felt(self, felt: Stream, step: int) -> Stream:
        """What a step takes of what it feels of the past."""
        if self.gain is None or step < self.steps:
            return felt
        return self.gain[step - self.steps] * felt

    def share(self, step: int) -> float:
        """h of a step, counted from 0."""
        return 0.5 ** max(0, step - self.learned + 1)

    def forward(self, force: Stream, step: int) -> Stream:
        """Δ for the forces (B, T, D) of a step, counted from 0."""
        share = self.share(step)
        return force if share == 1.0 else share * force


class TurningMetric(Metric):
    """Step k goes along the force and, as far as it has learned to, around it.

        Δ = h_k (η_k I + Ω_k) f      η_k = 2 σ(ρ_k)      Ω_k = [[0, diag ω_k], [-diag ω_k, 0]]

    Ω pairs channel i with channel i + D/2 and turns the force within each pair. Turning does no
    work: f·Δ = h_k η_k ‖f‖² whatever ω is, so a small enough step along Δ lowers the energy like
    plain descent, but what a position becomes is not bound to be a gradient of what it was. Steps
    beyond the learned ones repeat the last, half as far each time, so that however many are taken a
    state comes to rest. Parameters besides those of `Metric`: ρ (K), at the start η is 1; and ω
    (K · D/2), one at the start, one step behind another: lists of numbers, no matrix that maps
    states. Of further steps η and ω are ½, ¼, … at the start.

    Source: the splitting of a dissipative flow into a gradient and a circulation (port-Hamiltonian
    systems; van der Schaft & Jeltsema, 2014).

    Args:
        state_dim: D, even.
        steps: K ≥ 1.
        further: steps beyond K that are trained as well.
    """

    def __init__(self, state_dim: int, steps: int, further: int = 0) -> None:
        super().__init__(steps, further)
        begin = fading(steps, further)
        self.pace = nn.Parameter(torch.logit(begin / 2))
        self.circulation = nn.Parameter(begin.repeat_interleave(state_dim // 2))

    def rate(self, step: int) -> Tensor:
        """h η of a step, counted from 0; a scalar."""
        return 2 * self.share(step) * torch.sigmoid(self.pace[min(step, self.learned - 1)])

    def forward(self, force: Stream, step: int) -> Stream:
        """Δ for the forces (B, T, D) of a step, counted from 0."""
        turn = self.circulation.view(self.learned, -1)[min(step, self.learned - 1)]
        left, right = force.chunk(2, dim=-1)
        around = self.share(step) * torch.cat([turn, turn])
        return torch.addcmul(self.rate(step) * force, torch.cat([right, -left], dim=-1), around)
