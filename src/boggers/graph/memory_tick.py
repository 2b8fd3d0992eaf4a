"""The arithmetic of a memory's tick, for vectors in the host's memory and for those of a device.

Both give the same bits. A tick is some twenty tiny operations right after a training step has
emptied every cache; NumPy's take half as long then as PyTorch's, which have more code to fetch.
Elsewhere nothing may wait for the device, so there PyTorch it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

DORMANT, ACTIVE, DEEP = 0, 1, 2


class Rates(Protocol):
    """What a tick reads of a memory's rule."""

    @property
    def decay_rate(self) -> float: ...

    @property
    def active_threshold(self) -> float: ...

    @property
    def dormant_threshold(self) -> float: ...

    @property
    def ticks_to_deep(self) -> int: ...


class Vectors(ABC):
    """What is known of every token, (V,): activation, whether active, whether deep, ticks low.

    A token is never both active and deep; as one number, 0, 1 and 2 are dormant, active and deep.

    Args:
        tensors: `activation` (float64, or float32 on Metal), `state` (int8) and `low_ticks`
            (int32); they are copied.
        device: where they live from now on.
    """

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        exact = torch.float32 if device.type == "mps" else torch.float64  # Metal has no float64
        state = tensors["state"].to(device)
        self.activation = tensors["activation"].to(device, exact, copy=True)
        self.active, self.deep = state == ACTIVE, state == DEEP
        self.low_ticks = tensors["low_ticks"].to(device, torch.int32, copy=True)

    @property
    def state(self) -> Tensor:
        """0, 1 or 2 for every token, int8; a new vector every time."""
        return self.deep.to(torch.int8).mul_(DEEP).add_(self.active)

    @abstractmethod
    def read(self, ids: Tensor, rule: Rates) -> None:
        """a_v ← min(1, a_v + A n_v / max n) where n_v > 0; what is outside does not count."""

    @abstractmethod
    def fade(self, rule: Rates) -> None:
        """Decay, then count low ticks, then change states."""

    @abstractmethod
    def bonus(self, scale: float, out: Tensor) -> None:
        """out ← scale · a of active tokens, 0 of others; float32."""


class HostVectors(Vectors):
    """The same in NumPy, which sees the memory of the tensors."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        super().__init__(tensors, device)
        self._activation, self._low_ticks = self.activation.numpy(), self.low_ticks.numpy()
        self._active, self._deep = self.active.numpy(), self.deep.numpy()

    def read(self, ids: Tensor, rule: Rates) -> None:
        read, count = ids.numpy().reshape(-1), len(self._activation)
        if read.size and read.view(f"u{read.itemsize}").max() >= count:  # unsigned: -1 is large
            read = read[(read >= 0) & (read < count)]
        if not read.size:
            return
        seen = np.bincount(read, minlength=count).take(read)
        risen = seen / seen.max()
        risen *= rule.active_threshold
        risen += self._activation.take(read)
        self._activation[read] = np.minimum(risen, 1.0, out=risen)

    def fade(self, rule: Rates) -> None:
        level, low_ticks = self._activation, self._low_ticks
        level *= rule.decay_rate
        np.maximum(level, 0.0, out=level)
        low = level < rule.dormant_threshold
        up = level >= rule.active_threshold
        low_ticks += 1
        low_ticks *= low
        # For truth values, a > b is "a and not b".
        np.greater(self._active, low, out=self._active)
        np.logical_or(self._active, up, out=self._active)
        np.greater(self._deep, up, out=self._deep)
        np.logical_or(self._deep, low_ticks >= rule.ticks_to_deep, out=self._deep)

    def bonus(self, scale: float, out: Tensor) -> None:
        strength = out.numpy()
        np.multiply(self._activation, scale, out=strength, casting="same_kind")
        np.multiply(strength, self._active, out=strength)


class DeviceVectors(Vectors):
    """The same on a device, which nobody waits for."""

    def read(self, ids: Tensor, rule: Rates) -> None:
        ids = ids.reshape(-1)
        if not len(ids):
            return
        at, seen = how_often(self.activation, ids)
        before = self.activation.index_select(0, at)
        risen = (seen / seen.amax().clamp_min_(1.0)).mul_(rule.active_threshold)
        risen.add_(before).clamp_max_(1.0)
        self.activation.scatter_(0, at, torch.where(seen > 0, risen, before))

    def fade(self, rule: Rates) -> None:
        self.activation.mul_(rule.decay_rate).clamp_min_(0.0)
        low = self.activation < rule.dormant_threshold
        up = self.activation >= rule.active_threshold
        self.low_ticks.add_(1).mul_(low)
        self.active.gt_(low).logical_or_(up)
        self.deep.gt_(up).logical_or_(self.low_ticks >= rule.ticks_to_deep)

    def bonus(self, scale: float, out: Tensor) -> None:
        out.copy_(self.activation * scale).mul_(self.active)


def vectors(tensors: Mapping[str, Tensor], device: torch.device) -> Vectors:
    """The kind that suits the device."""
    return (HostVectors if device.type == "cpu" else DeviceVectors)(tensors, device)


def how_often(activation: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Where to look for each of these ids (n,), and how often that token is among them.

    What is outside the vocabulary looks at a token inside but does not count there, so that nobody
    has to wait for the device to know how many are left.
    """
    at = ids.long().clamp(0, len(activation) - 1)
    seen = torch.zeros_like(activation)
    seen.index_add_(0, at, (at == ids).to(seen.dtype))
    return at, seen.index_select(0, at)
