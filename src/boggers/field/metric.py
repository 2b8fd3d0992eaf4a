"""The metric of a settling: how a force becomes a step."""

import torch
from torch import Tensor, nn

from boggers.shapes import Stream


class Metric(nn.Module):
    """Step k goes along the force and, as far as it has learned to, around it.

        Δ = (η_k I + Ω_k) f          η_k = 2 σ(ρ_k)          Ω_k = [[0, diag ω_k], [-diag ω_k, 0]]

    Ω pairs channel i with channel i + D/2 and turns the force within each pair. Turning does no
    work: f·Δ = η_k ‖f‖² whatever ω is, so a small enough step along Δ lowers the energy like plain
    descent, but what a position becomes is not bound to be a gradient of what it was. Steps beyond
    the last of the K learned ones repeat it, each going half as far as the one before, so that
    however many are taken a state comes to rest; they feel nothing new (`dynamics.settle`).
    Parameters: ρ (K), zero at the start: η is 1; with
    circulation ω (K · D/2), one at the start, one step behind another: a list of numbers, no
    matrix that maps states.

    Source: the splitting of a dissipative flow into a gradient and a circulation (port-Hamiltonian
    systems; van der Schaft & Jeltsema, 2014).

    Args:
        state_dim: D, even.
        steps: K ≥ 1.
        circulating: whether there is an Ω at all. Without it a step of an energy that curves like
            ½‖s‖² never goes uphill.
    """

    def __init__(self, state_dim: int, steps: int, *, circulating: bool) -> None:
        super().__init__()
        self.learned = steps
        self.pace = nn.Parameter(torch.zeros(steps))
        self.circulation: nn.Parameter | None = None
        if circulating:
            self.circulation = nn.Parameter(torch.ones(steps * (state_dim // 2)))

    def share(self, step: int) -> float:
        """How far a step goes, counted from 0: 1 within the learned ones, then ½, ¼, …"""
        return 0.5 ** max(0, step - self.learned + 1)

    def rate(self, step: int) -> Tensor:
        """η of a step, counted from 0; a scalar."""
        return 2 * self.share(step) * torch.sigmoid(self.pace[min(step, self.learned - 1)])

    def forward(self, force: Stream, step: int) -> Stream:
        """Δ for the forces (B, T, D) of a step, counted from 0."""
        along = self.rate(step) * force
        if self.circulation is None:
            return along
        turns = self.circulation.view(self.learned, -1)
        turn = turns[min(step, self.learned - 1)]
        left, right = force.chunk(2, dim=-1)
        around = self.share(step) * torch.cat([turn, turn])
        return torch.addcmul(along, torch.cat([right, -left], dim=-1), around)
