"""What was said of every held-out token, as arrays: the ground that every figure stands on."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from boggers.errors import UserError
from boggers.infer.score import SETTLING, Predicted, predictions, token_nats
from boggers.model.architectures import Model

Floats = NDArray[np.float64]

PEER_BATCH = 32


@dataclass(frozen=True)
class TokenTable:
    """One entry for every token of a stretch, in order; all arrays are (N,).

    Attributes:
        nats: -ln p of the token.
        entropy: of the distribution that it was drawn from, in nats.
        confidence: the largest probability in it.
        correct: whether that was the token's.
        tension, energy, residual, steps: how the place settled, see `Predicted`.
    """

    nats: Floats
    entropy: Floats
    confidence: Floats
    correct: NDArray[np.bool_]
    tension: Floats
    energy: Floats
    residual: Floats
    steps: Floats

    def __len__(self) -> int:
        return len(self.nats)


def measure(
    model: Model,
    ids: NDArray[Any],
    start: int,
    stop: int,
    *,
    told: Callable[[int, int], None] | None = None,
) -> TokenTable:
    """Predict ids[start:stop] with a run's model, each token from those before it.

    Args:
        told: hears tokens done and tokens in all.

    Raises:
        UserError: nothing to predict.
    """
    return tabulate(predictions(model, ids, start, stop, tension=True), start, stop, told)


def measure_peer(
    model: nn.Module, ids: NDArray[Any], start: int, stop: int, *, length: int, context: int
) -> TokenTable:
    """Predict ids[start:stop] with any module that maps ids (B, T) to logits (B, T, V).

    The text is cut into windows of T tokens that predict their last T - C; so every token is
    predicted once, from at least C + 1 tokens.

    Args:
        length: T. context: C, below T; `start` must lie above it.

    Raises:
        UserError: too little text before `start`, or nothing to predict.
    """
    if not 0 <= context < length or start <= context or stop <= start:
        raise UserError(
            f"Windows of {length} tokens with {context} of context need 0 ≤ context < length and "
            f"more than that before the stretch {start}–{stop}. Choose others."
        )
    return tabulate(_of_peer(model, ids, start, stop, length, context), start, stop, None)


def tabulate(
    parts: Iterable[Predicted],
    start: int,
    stop: int,
    told: Callable[[int, int], None] | None,
) -> TokenTable:
    """The table of predictions that follow one another; computed in float64 from the logits on."""
    columns: dict[str, list[Tensor]] = {}
    for part in parts:
        place = "cpu" if part.logits.device.type == "mps" else part.logits.device
        log_p = part.logits.to(place).double().log_softmax(dim=-1)
        p = log_p.exp()
        best = p.max(dim=-1)
        found = {
            "nats": token_nats(part.logits, part.targets),
            "entropy": -(p * log_p).nan_to_num(0.0).sum(dim=-1),
            "confidence": best.values,
            "correct": best.indices == part.targets.to(place),
            **{name: getattr(part, name).double() for name in SETTLING},
        }
        for name, values in found.items():
            columns.setdefault(name, []).append(values.cpu())
        if told is not None:
            told(part.stop - start, stop - start)
    return TokenTable(**{name: torch.cat(values).numpy() for name, values in columns.items()})


@torch.inference_mode()
def _of_peer(
    model: nn.Module, ids: NDArray[Any], start: int, stop: int, length: int, context: int
) -> Iterator[Predicted]:
    device = next(model.parameters()).device
    for first in range(start, stop, (length - context) * PEER_BATCH):
        rows = np.arange(
            first, min(first + (length - context) * PEER_BATCH, stop), length - context
        )
        places = rows[:, None] - context + np.arange(length)
        # What a window predicts beyond the end is not counted, so any id may stand there.
        before = torch.from_numpy(ids[np.minimum(places - 1, stop - 1)].astype(np.int64))
        targets = torch.from_numpy(ids[np.minimum(places, stop - 1)].astype(np.int64))
        counted = torch.from_numpy((places < stop) & (np.arange(length) >= context)).to(device)
        logits = model(before.to(device))[counted]
        nothing = logits.new_zeros(len(logits))
        last = min(first + (length - context) * PEER_BATCH, stop)
        yield Predicted(
            last, logits, targets.to(device)[counted], nothing, nothing, nothing, nothing
        )
