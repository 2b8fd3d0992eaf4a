"""Held-out text as contestants meet it: every token once, each with enough text before it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from boggers.errors import UserError
from boggers.evals.ngram import bits_per_byte

BATCH = 32


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A stretch of a text, ids[start:stop], and the windows that predict it.

    A window holds T tokens and predicts the T - C behind its last T - C tokens, the next window
    those after them. So every token is predicted once, from at least C + 1 tokens of text.

    Attributes:
        ids: all tokens of the text, 1-D.
        byte_lengths: the UTF-8 bytes that each stands for.
        start, stop: the stretch.
        length: T.
        context: C, 0 ≤ C < T.

    Raises:
        UserError: nothing is held out, or fewer than C + 1 tokens precede it.
    """

    ids: NDArray[Any]
    byte_lengths: NDArray[Any]
    start: int
    stop: int
    length: int
    context: int

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise UserError(
                "A contest is judged on held-out text, but none is left. Use a longer text, or "
                "--val-fraction above 0."
            )
        if not 0 <= self.context < self.length:
            raise UserError(
                f"--context must be at least 0 and below --sequence-length {self.length}; it is "
                f"{self.context}."
            )
        if self.start <= self.context:
            raise UserError(
                f"--context {self.context} needs as many tokens and one more before the held-out "
                f"text; there are {self.start}. Use a longer text or less context."
            )

    @property
    def n_bytes(self) -> int:
        """UTF-8 bytes of the stretch."""
        return int(self.byte_lengths[self.start : self.stop].sum(dtype=np.int64))

    def nats(self, model: nn.Module, device: torch.device) -> float:
        """Total -ln p of the stretch, in float64 from the logits on; the model is unchanged."""
        training = model.training
        model.eval()
        scored = self.length - self.context
        firsts = np.arange(self.start, self.stop, scored)
        total = 0.0
        with torch.no_grad():
            for some in np.array_split(firsts, -(-len(firsts) // BATCH)):
                # What a window predicts beyond the end is not counted, so any id may stand there.
                places = some[:, None] - self.context + np.arange(self.length)
                ids = self.ids[np.minimum(places, self.stop - 1)].astype(np.int64)
                before = self.ids[np.minimum(places - 1, self.stop - 1)].astype(np.int64)
                logits = model(torch.from_numpy(before).to(device))[:, self.context :]
                targets = torch.from_numpy(ids[:, self.context :]).to(logits.device)
                counted = torch.from_numpy(places[:, self.context :] < self.stop)
                total += _nats(logits, targets, counted.to(logits.device))
        model.train(training)
        return total

    def bits_per_byte(self, model: nn.Module, device: torch.device) -> float:
        """Bits that the model needs for a byte of the stretch."""
        return bits_per_byte(self.nats(model, device), self.n_bytes)


def _nats(logits: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor) -> float:
    # Metal has no float64.
    place = "cpu" if logits.device.type == "mps" else logits.device
    wide, mask = logits.to(place).double(), counted.to(place)
    return float(F.cross_entropy(wide[mask], targets.to(place)[mask], reduction="sum"))
