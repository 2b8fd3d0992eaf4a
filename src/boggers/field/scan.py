"""The causal sum over a past that fades: a first-order linear recurrence, all positions at once."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

Stream = Float[Tensor, "B T C"]
Carried = Float[Tensor, "B C"]


def decayed_sum(decay: Stream, inputs: Stream, initial: Carried | None = None) -> Stream:
    """h_t = a_t ⊙ h_{t-1} + u_t for every position t, h_{-1} = `initial`.

    The sequence is cut into about √T chunks of about √T positions. All chunks advance together
    from zero, then one pass carries each chunk's end into the next: 2√T operations instead of T,
    and 3 multiply-adds a number whatever T is. Decays are only ever multiplied, never divided
    by, so nothing overflows however fast or slowly the past fades. Position t reads no later
    position: a change at t changes no bit before it.

    Args:
        decay: a, in [0, 1], (B, T, C), T ≥ 1.
        inputs: u, (B, T, C).
        initial: what was carried from an earlier stretch, (B, C); zero if left out. Feeding
            h_{T-1} of one call into the next gives the same as one call over both stretches.

    Returns:
        h, (B, T, C), in float32 at least (a sum of a long past needs its bits), with exact
        gradients: the backward pass is the same sum run from the end.

    Source: the two-level form of Blelloch, "Prefix sums and their applications" (1990).
    """
    kind = torch.promote_types(decay.dtype, torch.float32)
    start = inputs.new_zeros(inputs.shape[0], inputs.shape[2]) if initial is None else initial
    summed: Tensor = _DecayedSum.apply(  # type: ignore[no-untyped-call]
        decay.to(kind), inputs.to(kind), start.to(kind)
    )
    return summed


class _DecayedSum(torch.autograd.Function):
    """With g_t the gradient that has reached h_t, g_t = ∂h_t + a_{t+1} g_{t+1}: the same sum."""

    @staticmethod
    def forward(ctx: FunctionCtx, decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        summed = _sum_in_chunks(decay, inputs, initial)
        ctx.save_for_backward(decay, summed, initial)
        return summed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, summed, initial = ctx.saved_tensors
        nothing = torch.zeros_like(initial)
        later = torch.cat([nothing[:, None], decay[:, 1:].flip(1)], dim=1)
        reached = _sum_in_chunks(later, grad.flip(1), nothing).flip(1)
        before = torch.cat([initial[:, None], summed[:, :-1]], dim=1)
        return reached * before, reached, reached[:, 0] * decay[:, 0]


def _sum_in_chunks(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    batch, length, channels = inputs.shape
    size = _chunk_size(length)
    count = -(-length // size)
    padding = (0, 0, 0, count * size - length)
    # The padding stands behind the sequence, so nothing reads it.
    faded = torch.nn.functional.pad(decay, padding).view(batch, count, size, channels).clone()
    summed = torch.nn.functional.pad(inputs, padding).view(batch, count, size, channels).clone()
    for place in range(1, size):
        summed[:, :, place].addcmul_(faded[:, :, place], summed[:, :, place - 1])
        faded[:, :, place].mul_(faded[:, :, place - 1])
    carried = [initial]
    for chunk in range(count - 1):
        carried.append(torch.addcmul(summed[:, chunk, -1], faded[:, chunk, -1], carried[-1]))
    summed.addcmul_(faded, torch.stack(carried, dim=1)[:, :, None])
    return summed.view(batch, count * size, channels)[:, :length]


def _chunk_size(length: int) -> int:
    """The power of two nearest above √T."""
    size = 1
    while size * size < length:
        size *= 2
    return size
