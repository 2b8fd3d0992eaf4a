"""Memory that goes back to the system the moment it is let go of."""

import mmap
import sys

import torch

from boggers.model.stream import StreamState
from boggers.serve.flock import Place

ALIGNMENT = 64
"""Bytes: every tensor begins at a multiple, as the vector instructions like it."""


def apart(place: Place) -> Place:
    """The same place in a mapping of its own.

    What is kept for long among tensors that come and go leaves the allocator's heap full of gaps
    that nothing else fits into, and the process grows for as long as clients and their prompts
    change. Windows' ids, and what lives on a device, stay where they are.
    """
    if not isinstance(place, StreamState) or place.pasts[0].field.device.type != "cpu":
        return place
    tensors = place.tensors()
    sizes = {name: -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for name, tensor in tensors.items()}
    block = _mapping(max(1, sum(sizes.values())))
    at = 0
    for name, tensor in tensors.items():
        if tensor.numel():
            flat = torch.frombuffer(block, dtype=tensor.dtype, count=tensor.numel(), offset=at)
            tensors[name] = flat.view(tensor.shape).copy_(tensor)
        at += sizes[name]
    return StreamState.of(tensors)


def _mapping(size: int) -> mmap.mmap:
    """Zeros that are this process's alone."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
