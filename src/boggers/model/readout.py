"""From a settled window to the next token."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boggers.field.coupling import inverse_softplus
from boggers.shapes import Logits, State

FLAT_TEMPERATURE = 0.12
TIED_TEMPERATURE = 2.0


class WindowReadout(nn.Module):
    """Logits of the next token from a whole window, divided by a learned temperature τ > 0.

    flat:  R·vec(S) / τ                         R (V, W·D)
    tied:  (norm(R·vec(S)) · Eᵀ + β) / τ        R (D, W·D), E the embedding table, β (V)

    With fusion each position passes a linear map first: S_t ← F S_t + f.
    """

    def __init__(
        self,
        kind: Literal["flat", "tied"],
        window: int,
        state_dim: int,
        vocab_size: int,
        generator: torch.Generator,
        *,
        fusion: bool,
    ) -> None:
        super().__init__()
        width = window * state_dim
        rows = vocab_size if kind == "flat" else state_dim
        self.weight = nn.Parameter(torch.empty(rows, width))
        nn.init.uniform_(
            self.weight, -1 / math.sqrt(width), 1 / math.sqrt(width), generator=generator
        )
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if kind == "tied" else None
        temperature = FLAT_TEMPERATURE if kind == "flat" else TIED_TEMPERATURE
        self.temperature_raw = nn.Parameter(torch.tensor(inverse_softplus(temperature)))
        self.fusion: nn.Linear | None = None
        if fusion:
            self.fusion = nn.Linear(state_dim, state_dim)
            nn.init.xavier_uniform_(self.fusion.weight, generator=generator)
            nn.init.zeros_(self.fusion.bias)

    @property
    def temperature(self) -> Tensor:
        """τ = softplus(raw), at least 1e-6."""
        return F.softplus(self.temperature_raw).clamp_min(1e-6)

    def forward(self, state: State, table: Tensor) -> Logits:
        """(B, W, D) and the (V, D) embedding table to (B, V)."""
        if self.fusion is not None:
            state = self.fusion(state)
        if self.bias is None:
            return (state.flatten(1) @ self.weight.t()) / self.temperature
        summary = F.layer_norm(state.flatten(1) @ self.weight.t(), (table.shape[1],))
        # τ divides the narrow factor, so that no second pass over (B, V) is needed.
        tau = self.temperature
        return torch.addmm(self.bias / tau, summary / tau, table.t())
