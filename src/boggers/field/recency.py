"""What was said lately is likelier to be said again: fading counts of every token."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from boggers.shapes import Stream

SPANS = (4.0, 32.0, 256.0)
"""Time constants of the counts, in tokens."""

BLOCK = 256
"""Most tokens whose counts are taken at once: the work within a block grows with its square."""

Counts = Float[Tensor, "B R V"]
Ids = Int64[Tensor, "B T"]


class Recency(nn.Module):
    """Fading counts of the tokens so far, weighed by the settled state, are added to its logits.

        h_r,t = e^(-1/τ_r) h_r,t-1 + onehot(x_t)          logit_t += Σ_r (w_r·n_t/√D + b_r) h_r,t

    Several speeds together tell a word that is used throughout from one that has just come up; a
    weight may be negative: what has just been said is often not said at once again. Parameters:
    w (R · D, kept flat), b (R), all zero at the start.

    Source: the cache of Kuhn & De Mori (1990), with exponential decay (Clarkson & Robinson, 1997).

    Args:
        state_dim: D. vocab_size: V.
    """

    def __init__(self, state_dim: int, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.weight = nn.Parameter(torch.zeros(len(SPANS) * state_dim))
        self.bias = nn.Parameter(torch.zeros(len(SPANS)))
        self.spans: Tensor
        self.register_buffer("spans", torch.tensor(SPANS), persistent=False)

    def start(self, rows: int) -> Counts:
        """The counts of `rows` texts of which nothing has been read."""
        kind = torch.promote_types(self.bias.dtype, torch.float32)
        shape = (rows, len(SPANS), self.vocab_size)
        return torch.zeros(shape, dtype=kind, device=self.bias.device)

    def add(
        self, logits: Float[Tensor, "B T V"], unit: Stream, tokens: Ids, before: Counts | None
    ) -> Float[Tensor, "B T V"]:
        """The logits, changed in place by what was said up to and including each place.

        The work grows with the square of T: a long text is taken in blocks, see `before_blocks`.

        Args:
            logits: of the settled states, nothing else's.
            unit: n, the settled states at length √D.
            tokens: (B, T), read at these places.
            before: h before the first of them; None where it is known to be zero.
        """
        drive = self._drive(unit)
        ages = torch.arange(tokens.shape[1], device=tokens.device)
        since = ages[:, None] - ages
        faded = torch.where(since >= 0, self._fading(since.clamp_min(0)), 0.0)
        values = torch.einsum("btr,rtj->btj", drive, faded).to(logits.dtype)
        logits = self._add_at(logits, tokens, values)
        if before is None:
            return logits
        carried = drive * self._fading(ages + 1).T
        return logits.baddbmm_(carried.to(logits.dtype), before.to(logits.dtype))

    def before_blocks(
        self, tokens: Int64[Tensor, "B N P"], before: Counts | None
    ) -> Float[Tensor, "BN R V"]:
        """h before each of N blocks of texts, block after block within a text, (B · N, R, V).

        Args:
            tokens: (B, N, P), the blocks in order.
            before: h before the first of them; None where it is known to be zero.
        """
        counts = [self.start(len(tokens)) if before is None else before]
        for said in tokens[:, :-1].unbind(dim=1):
            counts.append(self.after(said, counts[-1]))
        return torch.stack(counts, dim=1).flatten(0, 1)

    def add_now(
        self, logits: Float[Tensor, "B 1 V"], unit: Stream, counts: Counts
    ) -> Float[Tensor, "B 1 V"]:
        """The logits of one place, changed in place, given h up to and including it."""
        return logits.baddbmm_(self._drive(unit).to(logits.dtype), counts.to(logits.dtype))

    def after(self, tokens: Ids, before: Counts | None) -> Counts:
        """h after these tokens (B, T)."""
        length = tokens.shape[1]
        left = self._fading(torch.arange(length - 1, -1, -1, device=tokens.device))
        counts = self.start(len(tokens)) if before is None else before
        # A number made on the device: one that is sent there would keep the host waiting.
        counts = counts * self._fading(torch.full((1,), length, device=tokens.device))
        return self._add_at(counts, tokens, left.expand(len(tokens), -1, -1))

    def _add_at(
        self, rows: Float[Tensor, "B P V"], tokens: Ids, values: Float[Tensor, "B P T"]
    ) -> Float[Tensor, "B P V"]:
        """The rows, changed in place: Σ_j values_j is added at the tokens that they belong to.

        An accelerator adds numbers that meet in one place in any order, so that the same text
        would not give the same bits twice; a product with one-hot rows adds them in one.
        """
        if rows.device.type == "cpu" or tokens.shape[1] == 1:
            return rows.scatter_add_(2, tokens[:, None, :].expand(-1, rows.shape[1], -1), values)
        one_hot = torch.zeros(
            (*tokens.shape, self.vocab_size), dtype=rows.dtype, device=rows.device
        )
        return rows.baddbmm_(values, one_hot.scatter_(2, tokens[..., None], 1.0))

    def _drive(self, unit: Stream) -> Tensor:
        """w·n/√D + b at every place, (B, T, R)."""
        width = unit.shape[-1]
        drive = F.linear(unit, self.weight.view(-1, width).to(unit.dtype))
        kind = torch.promote_types(drive.dtype, torch.float32)
        return drive.to(kind) / math.sqrt(width) + self.bias

    def _fading(self, ages: Tensor) -> Tensor:
        """e^(-age/τ_r), (R, …)."""
        kind = torch.promote_types(self.bias.dtype, torch.float32)
        return torch.exp(-ages / self.spans.to(kind).view(-1, *[1] * ages.ndim))
