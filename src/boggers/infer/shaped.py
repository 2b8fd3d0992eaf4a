"""The original's measures of held-out windows, under names that say what they are.

They compare runs with the original's records only: the shaped cross-entropy is smoothed, biased
and penalised by hand, so it is no cross-entropy and its exponential no perplexity.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from boggers.infer.noise import breaking_noise
from boggers.model.window import Reading, WindowModel

BATCH = 512
SMOOTHING = 0.06
BIGRAM = 0.025
PREVIOUS_PENALTY, RECENT_PENALTY, RECENT = 2.0, 1.0, 3


def shaped_cross_entropy(model: WindowModel, ids: NDArray[Any], start: int, stop: int) -> float:
    """The original's `val_ce` over windows inside ids[start:stop], in nats.

    CE at smoothing 0.06 of z + 0.025 E[prev]·Eᵀ - 2 [prev] - 1 [each of the last three ids]
    """
    total = count = 0.0
    for contexts, targets, reading in _windows(model, ids, start, stop, keep_path=False):
        with torch.inference_mode():
            logits = reading.logits + BIGRAM * model.embedding[contexts[:, -1]] @ model.embedding.T
            recent = torch.zeros_like(logits).scatter(1, contexts[:, -RECENT:], RECENT_PENALTY)
            previous = torch.zeros_like(logits).scatter(1, contexts[:, -1:], PREVIOUS_PENALTY)
            shaped = logits - recent - previous
            total += float(
                F.cross_entropy(shaped, targets, reduction="sum", label_smoothing=SMOOTHING)
            )
        count += len(targets)
    return total / count if count else float("nan")


def settled_paths(
    model: WindowModel, ids: NDArray[Any], start: int, stop: int
) -> Iterator[tuple[Tensor, ...]]:
    """The states after every step of windows inside ids[start:stop], a batch at a time."""
    for _, _, reading in _windows(model, ids, start, stop, keep_path=True):
        yield reading.relaxation.path or ()


def _windows(
    model: WindowModel, ids: NDArray[Any], start: int, stop: int, *, keep_path: bool
) -> Iterator[tuple[Tensor, Tensor, Reading]]:
    window, device = model.config.window_size, model.embedding.device
    for first in range(start, stop - window, BATCH):
        places = np.arange(first, min(first + BATCH, stop - window))
        spans = places[:, None] + np.arange(window + 1)
        tokens = torch.from_numpy(ids[spans].astype(np.int64)).to(device)
        contexts, targets = tokens[:, :-1].contiguous(), tokens[:, -1].contiguous()
        with torch.inference_mode():
            noise = breaking_noise(device)
            yield contexts, targets, model(contexts, generator=noise, keep_path=keep_path)
