"""A running average of the weights, which often predicts better than the last of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WARM_UP = 10
"""Steps, about, before which the average follows the weights closely."""


class WeightAverage:
    """An exponential moving average of a model's weights.

        a ← d_t a + (1 - d_t) w          d_t = min(decay, (1 + t) / (10 + t))

    Args:
        model: its present weights are the first average.
        decay: d, in (0, 1).

    Source: Polyak & Juditsky (1992); the warm-up as in TensorFlow's moving averages.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = dict(model.named_parameters())
        self._average = {name: w.detach().clone() for name, w in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`, counted from 0."""
        share = 1.0 - min(self.decay, (1 + step) / (WARM_UP + step))
        torch._foreach_lerp_(list(self._average.values()), list(self._weights.values()), share)

    def tensors(self) -> dict[str, Tensor]:
        """The average by the names of the weights."""
        return self._average

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a saved average of the same model."""
        for name, average in self._average.items():
            average.copy_(tensors[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights."""
        kept = {name: w.detach().clone() for name, w in self._weights.items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, tensors: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(tensors[name])
