"""What a text itself says of its next token: what followed before, what was said lately."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from boggers.field.recency import Recency
from boggers.field.succession import NOTHING, Followers, Succession


@dataclass(frozen=True)
class Heard:
    """What is remembered of the tokens of B texts, word for word; empty where a model does not.

    Attributes:
        latest: (B, n), the last tokens, oldest first, -1 before a beginning.
        followers: what followed the contexts of these texts, O kinds of them in H slots.
        counts: (B, R, V), how often each token came, fading at R speeds.
    """

    latest: Int64[Tensor, "B n"]
    followers: Followers
    counts: Float[Tensor, "B R V"]


class TextMemory(nn.Module):
    """Raises the logits of tokens that the text itself suggests, by learned weights.

    The settled state says how much a suggestion counts; what is suggested is a matter of record.
    Nothing here maps states to states.

    Args:
        state_dim: D. vocab_size: V.
        orders: longest context whose follower is remembered, in tokens; None = none is.
        slots: contexts of each length that are remembered.
        recency: whether fading counts of the tokens are kept.
        known: least number n of latest tokens to keep for other uses.
    """

    def __init__(
        self,
        state_dim: int,
        vocab_size: int,
        *,
        orders: int | None,
        slots: int,
        recency: bool,
        known: int,
    ) -> None:
        super().__init__()
        self.known = max(known, orders or 0)
        self.succession = None if orders is None else Succession(state_dim, orders, slots)
        self.recency = Recency(state_dim, vocab_size) if recency else None

    def start(self, rows: int, device: torch.device) -> Heard:
        """What is remembered of `rows` texts of which nothing has been read."""
        nothing = torch.zeros((rows, 0, 0), dtype=torch.int32, device=device)
        return Heard(
            latest=torch.full((rows, self.known), NOTHING, device=device),
            followers=(
                Followers(nothing, nothing)
                if self.succession is None
                else self.succession.start(rows)
            ),
            counts=(
                torch.zeros(rows, 0, 0, device=device)
                if self.recency is None
                else self.recency.start(rows)
            ),
        )

    def forward(
        self,
        logits: Float[Tensor, "B P V"],
        unit: Float[Tensor, "B P D"],
        tokens: Int64[Tensor, "B T"],
        before: Heard,
        embedding: Float[Tensor, "V D"],
        *,
        fresh: bool,
    ) -> tuple[Float[Tensor, "B P V"], Heard]:
        """The logits, changed in place, and what is remembered after these tokens.

        Args:
            logits: (B, P, V) at the last P of the T positions: all of them, one or none.
            unit: (B, P, D), the settled states there at length √D.
            tokens: (B, T).
            before: what is remembered of what came before them.
            embedding: the table that reads the states.
            fresh: nothing did; a shorter way to the same logits.
        """
        places = logits.shape[1]
        followers, counts = before.followers, before.counts
        if self.succession is not None:
            latest = before.latest[:, before.latest.shape[1] - self.succession.orders :]
            named, followers = self.succession.recall(tokens, latest, before.followers)
            named = named[:, tokens.shape[1] - places :]
            logits = self.succession.add(logits, unit, named, embedding)
        if self.recency is not None:
            counts = self.recency.after(tokens, before.counts)
            if places == 1:  # the last
                logits = self.recency.add_now(logits, unit, counts)
            elif places:
                known = None if fresh else before.counts
                logits = self.recency.add(logits, unit, tokens, known)
        text = torch.cat([before.latest, tokens], dim=1)
        return logits, Heard(text[:, text.shape[1] - self.known :], followers, counts)
