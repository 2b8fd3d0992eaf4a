"""The arithmetic of a memory's tick, for vectors in the host's memory and for those of a device.

Both give the same bits. A tick takes some thirty tiny operations right after a training step has
emptied every cache; NumPy's take half as long then as PyTorch's, which have more code to fetch.
Elsewhere nothing may wait for the device, so there PyTorch it is.
"""

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


def is_here(vector: Tensor) -> bool:
    """Whether NumPy can reach it."""
    return vector.device.type == "cpu"


def raise_here(activation: Tensor, ids: Tensor, rule: Rates) -> None:
    """a_v ← min(1, a_v + A n_v / max n) where n_v > 0; `raise_there` says it for a device."""
    read, level = ids.numpy().reshape(-1), activation.numpy()
    count = len(level)
    if read.size and read.view(f"u{read.itemsize}").max() >= count:  # unsigned: -1 is large
        read = read[(read >= 0) & (read < count)]
    if not read.size:
        return
    seen = np.bincount(read, minlength=count).take(read)
    risen = seen / seen.max()
    risen *= rule.active_threshold
    risen += level.take(read)
    level[read] = np.minimum(risen, 1.0, out=risen)


def raise_there(activation: Tensor, ids: Tensor, rule: Rates) -> None:
    """The same on a device."""
    ids = ids.reshape(-1)
    if not len(ids):
        return
    at, seen = how_often(activation, ids)
    before = activation.index_select(0, at)
    risen = (seen / seen.amax().clamp_min_(1.0)).mul_(rule.active_threshold)
    risen.add_(before).clamp_max_(1.0)
    activation.scatter_(0, at, torch.where(seen > 0, risen, before))


def how_often(activation: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Where to look for each of these ids (n,), and how often that token is among them.

    What is outside the vocabulary looks at a token inside but does not count there, so that nobody
    has to wait for the device to know how many are left.
    """
    at = ids.long().clamp(0, len(activation) - 1)
    seen = torch.zeros_like(activation)
    seen.index_add_(0, at, (at == ids).to(seen.dtype))
    return at, seen.index_select(0, at)


def fade_here(activation: Tensor, state: Tensor, low_ticks: Tensor, rule: Rates) -> None:
    """Decay, then change states, then count low ticks; `fade_there` says it for a device.

    The lower bit of a state says active, the upper one deep: whole vectors of bits change ten times
    faster than what a mask picks. No token is both low and up; one that sinks is low.
    """
    level, bits, ticks = activation.numpy(), state.numpy(), low_ticks.numpy()
    level *= rule.decay_rate
    np.maximum(level, 0.0, out=level)
    low = level < rule.dormant_threshold
    ticks += 1
    ticks *= low
    up = (level >= rule.active_threshold).view(np.int8)
    sinks = (ticks >= rule.ticks_to_deep).view(np.int8)
    clear = low.view(np.int8)
    clear += up
    clear += up
    bits |= up
    bits &= np.invert(clear, out=clear)
    sinks *= DEEP
    bits |= sinks


def fade_there(activation: Tensor, state: Tensor, low_ticks: Tensor, rule: Rates) -> None:
    """The same on a device."""
    activation.mul_(rule.decay_rate).clamp_min_(0.0)
    low = activation < rule.dormant_threshold
    low_ticks.add_(1).mul_(low)
    up = (activation >= rule.active_threshold).view(torch.int8)
    sinks = (low_ticks >= rule.ticks_to_deep).view(torch.int8)
    state.bitwise_or_(up)
    state.bitwise_and_(torch.add(low.view(torch.int8), up, alpha=DEEP).bitwise_not_())
    state.bitwise_or_(sinks * DEEP)


def bonus_here(activation: Tensor, state: Tensor, scale: float) -> Tensor:
    """scale · a of active tokens, 0 of others, in float32; `bonus_there` says it for a device."""
    bonus = (activation.numpy() * scale).astype(np.float32)
    bonus *= (state.numpy() & ACTIVE).astype(np.float32)
    return torch.from_numpy(bonus)


def bonus_there(activation: Tensor, state: Tensor, scale: float) -> Tensor:
    """The same on a device."""
    return (activation * scale).float().mul_(state.bitwise_and(ACTIVE).float())
