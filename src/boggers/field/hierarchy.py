"""Two timescales: words move fast, what the last few words say together moves slowly."""

import torch
from jaxtyping import Int64
from torch import Tensor

from boggers.field.drift import Drift, HeadRows, MultiHeadDrift, WaveRows

RATIO = 4
"""How many times slower the slow waves are, in step and in their cubic term."""

SPAN = 4
"""Latest tokens that make a phrase."""

Ids = Int64[Tensor, "B T"]


def phrase_ids(tokens: Ids, before: Int64[Tensor, "B n"], rows: int, span: int = SPAN) -> Ids:
    """Which row of a table of phrases the latest tokens up to each place mean.

        p_t = (Σ_{j=1..n} j id_j) mod P        over the last n ≤ span ids, the oldest has j = 1

    Args:
        tokens: (B, T) ids.
        before: (B, span - 1) ids of the tokens before them; -1 where a text had not begun.
        rows: P.
        span: how many tokens at most make a phrase.
    """
    whole = torch.cat([before, tokens], dim=1)
    spans = whole.unfold(1, span, 1)
    real = (spans >= 0).long()
    return (real.cumsum(dim=-1) * spans.clamp_min(0)).sum(dim=-1).remainder(rows)


class TwoTimescaleDrift(Drift):
    """The first half of the waves is fast and hears the token, the other slow and hears the phrase.

    Both halves are a `MultiHeadDrift`; the slow one has step dt/4 and starts with α/4. They meet in
    the mixing of waves and in the readout only.

    Args: as of `MultiHeadDrift`.
    """

    def __init__(
        self,
        wave_dim: int,
        num_heads: int,
        rank: int,
        dt: float,
        coupling: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.fast = MultiHeadDrift(wave_dim, num_heads, rank, dt, coupling, generator)
        self.slow = MultiHeadDrift(wave_dim, num_heads, rank, dt / RATIO, coupling, generator)
        with torch.no_grad():
            self.slow.cubic.div_(RATIO)

    def heads(self, waves: WaveRows, signal: WaveRows) -> HeadRows:
        pairs = zip(waves.chunk(2, dim=1), signal.chunk(2, dim=1), strict=True)
        (fast, u), (slow, v) = pairs
        return torch.cat([self.fast.heads(fast, u), self.slow.heads(slow, v)], dim=1)

    def forward(self, waves: WaveRows, signal: WaveRows) -> WaveRows:
        pairs = zip(waves.chunk(2, dim=1), signal.chunk(2, dim=1), strict=True)
        (fast, u), (slow, v) = pairs
        return torch.cat([self.fast(fast, u), self.slow(slow, v)], dim=1)
