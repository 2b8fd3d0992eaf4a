"""Dropout that draws from a generator of its own."""

import torch
from torch import Tensor

from boggers.errors import UserError


def drop(
    state: Tensor, share: float, generator: torch.Generator | None, *, training: bool
) -> Tensor:
    """Inverted dropout in training: entries are zeroed with probability `share`, others grow.

    Raises:
        UserError: it is needed and no generator came.
    """
    if not training or not share:
        return state
    if generator is None:
        raise UserError(
            "Dropout needs a random generator in training mode, none came. "
            "Pass generator=…, or call model.eval()."
        )
    keep = torch.empty_like(state).bernoulli_(1 - share, generator=generator)
    return state * keep / (1 - share)
