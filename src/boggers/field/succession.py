"""What followed the last time: a memory of the text itself, filled in as it is read."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn

from boggers.shapes import Stream

NOTHING = -1
"""Stands for a token before a text begins, and for one that is not remembered."""

MULTIPLIER, PRIME = 1_000_003, 2_147_483_647
"""Of the hash; products stay below 2⁵²."""

Ids = Int64[Tensor, "B T"]
Named = Int64[Tensor, "B T O"]
Slots = Int32[Tensor, "B O H"]


@dataclass(frozen=True)
class Followers:
    """What is remembered of B texts: its size never grows.

    Attributes:
        contexts: (B, O, H), the hash of the last context that was filed in each slot; -1 if none.
        followers: (B, O, H), the token that came after it.
    """

    contexts: Slots
    followers: Slots


class Succession(nn.Module):
    """Where the last 1, 2, … O tokens have stood before, what followed there is more likely now.

        logit_t[y] += Σ_o [y = y_o,t] softplus(g_o·n_t/√D + b_o + c_o n_t·e_y)

    y_o,t is the token that followed the last time when the latest o tokens stood together; nothing
    is added where they have not. How much is added depends on the settled state and on how well
    the token suits it. What is remembered is a table of H slots for each o, a later context
    replacing an earlier one of the same slot, so that reading on costs the same wherever a text
    stands. There is nothing to learn but the weight; at the start it is 1 for everything.
    Parameters: g (O · D, kept flat), b and c (O).

    Source: the pointer and cache of language models (Merity et al., 2017; Grave et al., 2017), with
    the match model of lossless compressors in place of attention (Mahoney, 2005).

    Args:
        state_dim: D. orders: O ≥ 1. slots: H ≥ 1.
    """

    def __init__(self, state_dim: int, orders: int, slots: int) -> None:
        super().__init__()
        self.orders, self.slots = orders, slots
        self.gate = nn.Parameter(torch.zeros(orders * state_dim))
        self.strength = nn.Parameter(torch.full((orders,), math.log(math.e - 1)))
        self.resonance = nn.Parameter(torch.zeros(orders))

    def start(self, rows: int) -> Followers:
        """The memory of `rows` texts of which nothing has been read."""
        shape = (rows, self.orders, self.slots)
        nothing = torch.full(shape, NOTHING, dtype=torch.int32, device=self.gate.device)
        return Followers(nothing, nothing)

    def recall(
        self, tokens: Ids, latest: Int64[Tensor, "B O"], before: Followers
    ) -> tuple[Named, Followers]:
        """What followed the last time, y (B, T, O), or -1; and the memory after these tokens.

        Every place reads what stands before it and nothing else: a sort by slot finds the place
        where the slot was last written, within the stretch or, by the table, before it.

        Args:
            tokens: (B, T).
            latest: the O tokens before them, -1 where there are none.
            before: the memory up to them. The follower of the latest token is not in it yet.
        """
        text = torch.cat([latest, tokens], dim=1)
        contexts = self._contexts(text)  # (B, O, T + 1), the first one that of the latest token
        places = torch.arange(contexts.shape[-1], device=text.device)
        slots = torch.where(contexts < 0, self.slots + places, contexts % self.slots)
        # The latest token of the stretch has no follower yet: it asks, but is not filed.
        followers = text[:, None, -tokens.shape[1] :].expand(-1, self.orders, -1)
        written = _previous(slots)[..., 1:]
        asked, filed = contexts[..., 1:], contexts[..., :-1]
        at = written.clamp_min(0)
        inside = torch.where(filed.gather(-1, at) == asked, followers.gather(-1, at), NOTHING)
        slot = asked % self.slots
        known = (before.contexts.gather(-1, slot) == asked) & (asked >= 0)
        outside = torch.where(known, before.followers.gather(-1, slot).long(), NOTHING)
        found = torch.where(written >= 0, inside, outside)
        return found.transpose(1, 2), self._filed(before, filed, slots[..., :-1], followers)

    def add(
        self,
        logits: Float[Tensor, "B T V"],
        unit: Stream,
        named: Named,
        embedding: Float[Tensor, "V D"],
    ) -> Float[Tensor, "B T V"]:
        """The logits, raised in place at the named tokens.

        Args:
            logits: of the settled states, nothing else's.
            unit: n, the settled states at length √D.
            named: y.
            embedding: the table that reads the states.
        """
        gate = self.gate.view(self.orders, -1).to(unit.dtype)
        token = named.clamp_min(0)
        suits = (F.embedding(token, embedding) * unit[..., None, :]).sum(dim=-1)
        drive = F.linear(unit, gate) / math.sqrt(unit.shape[-1]) + self.strength
        weight = F.softplus(drive + self.resonance * suits)
        weight = torch.where(named < 0, 0.0, weight).to(logits.dtype)
        # One order after another: where two name the same token, an accelerator would add them in
        # any order, and the same text would not give the same bits twice.
        for order in range(self.orders):
            each = slice(order, order + 1)
            logits = logits.scatter_add_(2, token[..., each], weight[..., each])
        return logits

    def _contexts(self, text: Ids) -> Int64[Tensor, "B O P"]:
        """A hash of the latest 1 … O tokens at the last place of `latest` and all after it."""
        first = self.orders - 1
        length = text.shape[1] - first
        hashes = []
        value, real = torch.zeros_like(text[:, first:]), torch.ones_like(text[:, first:]).bool()
        for back in range(self.orders):
            token = text[:, first - back :][:, :length]
            value = (value * MULTIPLIER + token + 1) % PRIME
            real = real & (token != NOTHING)
            hashes.append(torch.where(real, value, NOTHING))
        return torch.stack(hashes, dim=1)

    def _filed(self, before: Followers, contexts: Tensor, slots: Tensor, new: Tensor) -> Followers:
        """The table after contexts were filed, the latest of a slot staying."""
        places = torch.arange(slots.shape[-1], device=slots.device).expand_as(slots)
        valid = contexts >= 0
        # What is not to be filed goes into a slot of its own, which is cut off again.
        into = torch.where(valid, slots, self.slots)
        last = places.new_full((*slots.shape[:2], self.slots + 1), NOTHING)
        last = last.scatter_reduce(-1, into, places, "amax")[..., :-1]
        at = last.clamp_min(0)
        return Followers(
            torch.where(last >= 0, contexts.gather(-1, at).int(), before.contexts),
            torch.where(last >= 0, new.gather(-1, at).int(), before.followers),
        )


def _previous(slots: Int64[Tensor, "B O P"]) -> Int64[Tensor, "B O P"]:
    """The place of the last earlier entry of the same slot, or -1."""
    order = slots.argsort(dim=-1, stable=True)
    ordered = slots.gather(-1, order)
    same = ordered[..., 1:] == ordered[..., :-1]
    earlier = torch.where(same, order[..., :-1], NOTHING)
    return torch.full_like(slots, NOTHING).scatter(-1, order, F.pad(earlier, (1, 0), value=NOTHING))
