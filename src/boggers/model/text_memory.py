"""What a text itself says of its next token: what followed before, what was said lately."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from boggers.field.blocks import Blocks
from boggers.field.recency import BLOCK, Recency
from boggers.field.succession import NOTHING, Followers, Succession
from boggers.model.basins import Rests


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
        rests: Rests,
        tokens: Int64[Tensor, "B T"],
        before: Heard,
        embedding: Float[Tensor, "V D"],
        *,
        fresh: bool,
    ) -> tuple[Float[Tensor, "B P V"], Heard]:
        """What the states and the text say of the next token, and what is remembered after it.

        Args:
            rests: (B, P, D), where the last P of the T positions rest, at length √D: all of them,
                one or none. What the text suggests is weighed by the first of several places.
            tokens: (B, T).
            before: what is remembered of what came before them.
            embedding: the table that reads the states.
            fresh: nothing did; a shorter way to the same logits.
        """
        places = rests.states[0].shape[1]
        whole = self.recency is not None and places == tokens.shape[1] > 1
        # All is read in the shape of blocks, so that no part of the logits is changed in place:
        # each such change would cost a copy of them all in the backward pass.
        cut = Blocks.of(places, BLOCK) if whole else Blocks(count=1, length=places)
        followers, counts = before.followers, before.counts
        rests = rests.each(cut.divide)
        unit, logits = rests.states[0], rests.read(embedding)
        if self.succession is not None:
            latest = before.latest[:, before.latest.shape[1] - self.succession.orders :]
            named, followers = self.succession.recall(tokens, latest, before.followers)
            named = cut.divide(named[:, tokens.shape[1] - places :])
            logits = self.succession.add(logits, unit, named, embedding)
        if self.recency is not None:
            counts = self.recency.after(tokens, before.counts)
            if whole:
                said = cut.divide(tokens)
                known = None if fresh else before.counts
                if cut.count > 1:
                    known = self.recency.before_blocks(
                        said.view(len(tokens), cut.count, cut.length), known
                    )
                logits = self.recency.add(logits, unit, said, known)
            elif places:  # the last
                logits = self.recency.add_now(logits, unit, counts)
        text = torch.cat([before.latest, tokens], dim=1)
        heard = Heard(text[:, text.shape[1] - self.known :], followers, counts)
        return cut.join(logits, places), heard
