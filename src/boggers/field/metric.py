"""The metric of a settling: how a force becomes a step."""

import torch
from torch import Tensor, nn

from boggers.shapes import Stream

FIRST_CIRCULATION = 1.0
LATER_RATE = 0.2
"""What a step after the first begins with, as a share of the first: it must earn more."""


class Metric(nn.Module):
    """Step k goes along the force and, as far as it has learned to, around it.

        Δ = (η_k I + Ω_k) f          η_k > 0          Ω_k = [[0, diag ω_k], [-diag ω_k, 0]]

    Ω pairs channel i with channel i + D/2 and turns the force within each pair. Turning does no
    work: f·Δ = η_k ‖f‖² whatever ω is, so a small enough step along Δ lowers the energy like plain
    descent, but what a position becomes is not bound to be a gradient of what it was. Steps beyond
    the last of the K learned ones repeat it. Parameters: log η (K); ω (K · D/2), one step behind
    another: a list of numbers, no matrix that maps states.

    Source: the splitting of a dissipative flow into a gradient and a circulation (port-Hamiltonian
    systems; van der Schaft & Jeltsema, 2014).

    Args:
        state_dim: D, even.
        steps: K ≥ 1.
    """

    def __init__(self, state_dim: int, steps: int) -> None:
        super().__init__()
        share = torch.tensor([1.0] + [LATER_RATE] * (steps - 1))
        self.log_rate = nn.Parameter(share.log())
        self.circulation = nn.Parameter(FIRST_CIRCULATION * share.repeat_interleave(state_dim // 2))

    def rate(self, step: int) -> Tensor:
        """η of a step, counted from 0; a scalar."""
        return self.log_rate[min(step, len(self.log_rate) - 1)].exp()

    def forward(self, force: Stream, step: int) -> Stream:
        """Δ for the forces (B, T, D) of a step, counted from 0."""
        turns = self.circulation.view(len(self.log_rate), -1)
        turn = turns[min(step, len(turns) - 1)]
        left, right = force.chunk(2, dim=-1)
        return torch.addcmul(
            self.rate(step) * force, torch.cat([right, -left], dim=-1), torch.cat([turn, turn])
        )
