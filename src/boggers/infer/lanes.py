"""A text in parts that a token model reads side by side, since it cannot read one in parallel."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boggers.infer.noise import breaking_noise
from boggers.model.token import TokenModel

LANES = 64
"""Parts of a stretch that are read side by side."""

WARM_UP = 256
"""Tokens that are read before each part, a dozen time constants of the slow state."""

CHUNK = 32
"""Tokens of every lane that are read in one go."""


def follow_lanes(
    model: TokenModel, ids: NDArray[Any], start: int, stop: int
) -> Iterator[tuple[NDArray[np.int64], dict[str, Tensor]]]:
    """Predict ids[start:stop], each token from those before it, every token once.

    Args:
        model: in evaluation mode.
        ids: the corpus, 1-D.

    Yields:
        The places of N tokens, and by name (N, …): logits, targets, tension, energy, residual and
        steps of each.
    """
    device = model.embedding.device
    size = -(-(stop - start) // LANES)
    firsts = np.arange(start, stop, size)
    state = model.start(len(firsts))
    for ahead in range(-WARM_UP, size, CHUNK):
        offsets = np.arange(ahead, min(ahead + CHUNK, size))
        places = firsts[:, None] + offsets
        counted = (offsets >= 0) & (places < np.minimum(firsts + size, stop)[:, None])
        before = ids[(places - 1).clip(0, len(ids) - 1)].astype(np.int64)
        tokens = torch.from_numpy(before).to(device)
        reading = model(tokens, state=state, generator=breaking_noise(device))
        state = reading.state
        if not counted.any():
            continue
        mask = torch.from_numpy(counted).to(device)
        targets = torch.from_numpy(ids[places.clip(0, len(ids) - 1)].astype(np.int64)).to(device)
        found = {
            "logits": reading.logits,
            "targets": targets,
            "energy": reading.fast.square().sum(dim=-1),
            **{name: reading.settled(name) for name in ("tension", "residual", "steps")},
        }
        yield places[counted], {name: value[mask] for name, value in found.items()}
