"""What two tokens in a row have come to mean: a table that the pair itself looks up."""

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn

from boggers.shapes import Stream

MULTIPLIERS = ((2_654_435_761, 40_503), (1_000_003, 7_368_787), (32_452_843, 49_979_687))
"""Of the hashes, one pair each; the very first is Knuth's."""

PRIME = 2_147_483_647

TABLE_SCALE = 0.02

Ids = Int64[Tensor, "B T"]


class PhraseTable(nn.Module):
    """The state of a token knows at once which token it follows.

        p_t = P [r_1[h_1(x_{t-1}, x_t)], …, r_n[h_n(x_{t-1}, x_t)]]
        h_i(a, b) = ((α_i a + β_i b) mod 2³¹-1) mod R

    Several pairs share a row: what they disagree about is left to the couplings to tell apart. With
    more than one hash, pairs that share one row seldom share another. Rows are learned like
    embeddings. Parameters: phrase_table r (n R, C), out P (D, n C).

    Source: hashed n-gram embeddings (Joulin et al., 2017, "Bag of tricks"; Svenstrup et al., 2017,
    "Hash embeddings").

    Args:
        rows: R. width: C. hashes: n, 1 to 3. state_dim: D.
        generator: source of the initial weights.
    """

    def __init__(
        self, rows: int, width: int, hashes: int, state_dim: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.rows, self.hashes = rows, hashes
        self.phrase_table = nn.Parameter(torch.empty(hashes * rows, width))
        self.out = nn.Parameter(torch.empty(state_dim, hashes * width))
        nn.init.normal_(self.phrase_table, std=TABLE_SCALE, generator=generator)
        nn.init.normal_(self.out, std=(hashes * width) ** -0.5, generator=generator)

    def forward(self, tokens: Ids, before: Int64[Tensor, "B 1"]) -> Stream:
        """p, (B, T, D), of tokens (B, T), given the token before the first, -1 at a beginning."""
        previous = torch.cat([before, tokens[:, :-1]], dim=1)
        rows = [
            (previous * first + tokens * second) % PRIME % self.rows + number * self.rows
            for number, (first, second) in enumerate(MULTIPLIERS[: self.hashes])
        ]
        found = F.embedding(torch.stack(rows, dim=-1), self.phrase_table)
        return F.linear(found.flatten(-2), self.out)
