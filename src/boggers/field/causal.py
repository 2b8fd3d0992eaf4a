"""The causal coupling of a stream: what every position feels of its fading past."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from boggers.field.scan import Carried, decayed_sum
from boggers.field.unit import unit_rms
from boggers.shapes import Stream

GATES = 4


@dataclass(frozen=True)
class Past:
    """All that a coupling remembers of the positions before: its size never grows.

    Attributes:
        recent: (B, taps - 1, D), the unit states of the last positions, oldest first.
        field: (B, C), the decayed sum up to the last position, float32 at least.
    """

    recent: Float[Tensor, "B taps D"]
    field: Carried


class CausalCoupling(nn.Module):
    """A sum over the past in which every channel forgets at a speed of its own.

        m_t = n_t + Σ_{j<taps} κ_j ⊙ n_{t-j}                        n_t = s_t / rms(s_t)
        h_t = a_t ⊙ h_{t-1} + (1 - a_t) ⊙ σ(I m_t) ⊙ (V m_t)        a_t = exp(-softplus(A m_t + α))
        c_t = O (h_t / rms(h_t) ⊙ silu(G m_t))

    The decay a reads the input, so a channel may hold a word for a sentence and drop it at the
    full stop. At the start its time constant 1/softplus(α) is spread evenly in the logarithm from
    `shortest` to `longest` positions. O starts at zero: an untrained coupling is silent.
    Parameters: gates (4C, D) = V, A, I, G stacked; out (D, C); taps κ (taps, D); speed α (C).

    Source: the gated linear recurrences of Griffin (De et al., 2024) and Mamba (Gu & Dao, 2023),
    with their short convolution.

    Args:
        state_dim: D. channels: C.
        taps: positions that the short convolution reads, the present one included, ≥ 1.
        shortest, longest: time constants in positions, 0 < shortest ≤ longest.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        state_dim: int,
        channels: int,
        taps: int,
        shortest: float,
        longest: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.gates = nn.Parameter(torch.empty(GATES * channels, state_dim))
        nn.init.normal_(self.gates, std=state_dim**-0.5, generator=generator)
        self.out = nn.Parameter(torch.zeros(state_dim, channels))
        self.taps_bias = nn.Parameter(torch.zeros(taps, state_dim))
        spans = torch.logspace(math.log10(shortest), math.log10(longest), channels)
        self.speed = nn.Parameter(torch.log(torch.expm1(1 / spans)))

    @property
    def taps(self) -> int:
        """Positions that the short convolution reads."""
        return len(self.taps_bias)

    def start(self, rows: int) -> Past:
        """The past of `rows` streams that have not begun."""
        channels, width = len(self.speed), self.gates.shape[1]
        kind = torch.promote_types(self.gates.dtype, torch.float32)
        # Plain tensors, even while the weights are spread over several processes.
        device, dtype = self.gates.device, self.gates.dtype
        recent = torch.zeros(rows, self.taps - 1, width, device=device, dtype=dtype)
        return Past(recent, torch.zeros(rows, channels, device=device, dtype=kind))

    def forward(self, state: Stream, past: Past) -> tuple[Stream, Past]:
        """c for every position of (B, T, D), given the past before it; and the past after it."""
        unit = unit_rms(state)
        history = torch.cat([past.recent.to(unit.dtype), unit], dim=1)
        value, slowness, entry, exit_ = F.linear(self._mix(history), self.gates).chunk(GATES, -1)
        rate = F.softplus(slowness.float() + self.speed)
        entering = -torch.expm1(-rate) * torch.sigmoid(entry) * value
        field = decayed_sum(torch.exp(-rate), entering, past.field)
        read = unit_rms(field).to(unit.dtype) * F.silu(exit_)
        kept = history[:, history.shape[1] - self.taps + 1 :]
        return F.linear(read, self.out), Past(kept, field[:, -1])

    def _mix(self, history: Tensor) -> Tensor:
        """m, from (B, taps - 1 + T, D): tap j of a position reads j positions back."""
        length = history.shape[1] - self.taps + 1
        mixed = history[:, self.taps - 1 :]
        for back, weight in enumerate(self.taps_bias):
            mixed = torch.addcmul(mixed, history[:, self.taps - 1 - back :][:, :length], weight)
        return mixed
