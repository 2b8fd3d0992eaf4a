"""What two tokens in a row have come to mean: a table that the pair itself looks up."""

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn

from boggers.shapes import Stream

SPREAD, SHIFT, PRIME = 2_654_435_761, 40_503, 2_147_483_647
"""Multipliers and modulus of the hash; the first is Knuth's."""

TABLE_SCALE = 0.02

NOTHING = -1
"""Stands for the token before a text begins."""

Ids = Int64[Tensor, "B T"]


class PhraseTable(nn.Module):
    """The state of a token knows at once which token it follows.

        p_t = P r[h(x_{t-1}, x_t)]          h(a, b) = ((2654435761 a + 40503 b) mod 2³¹-1) mod R

    Several pairs share a row: what they disagree about is left to the couplings to tell apart. Rows
    are learned like embeddings. Parameters: phrase_table r (R, C), out P (D, C).

    Source: hashed n-gram embeddings (Joulin et al., 2017, "Bag of tricks"; Svenstrup et al., 2017,
    "Hash embeddings").

    Args:
        rows: R. width: C. state_dim: D.
        generator: source of the initial weights.
    """

    def __init__(self, rows: int, width: int, state_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.phrase_table = nn.Parameter(torch.empty(rows, width))
        self.out = nn.Parameter(torch.empty(state_dim, width))
        nn.init.normal_(self.phrase_table, std=TABLE_SCALE, generator=generator)
        nn.init.normal_(self.out, std=width**-0.5, generator=generator)

    def forward(self, tokens: Ids, before: Int64[Tensor, "B 1"]) -> Stream:
        """p, (B, T, D), of tokens (B, T), given the token before the first."""
        previous = torch.cat([before, tokens[:, :-1]], dim=1)
        rows = (previous * SPREAD + tokens * SHIFT) % PRIME % len(self.phrase_table)
        return F.linear(F.embedding(rows, self.phrase_table), self.out)
