"""The direction of a state: its numbers at a root mean square of one."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def unit_rms(states: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
    """n = s / √(mean(s²) + ε) along the last dimension, ε the resolution of float32 or wider.

    The same as `torch.nn.functional.rms_norm`, whose many small operations take more than twice as
    long on a processor, mostly in its backward pass; there it is written out, and can be
    differentiated once. Accelerators have a kernel for it.

    Source: Zhang & Sennrich (2019), "Root mean square layer normalization".
    """
    if states.device.type != "cpu":
        return F.rms_norm(states, states.shape[-1:])
    unit: Tensor = _UnitRms.apply(states)  # type: ignore[no-untyped-call]
    return unit


class _UnitRms(torch.autograd.Function):
    """∂s = (∂n - n mean(∂n n)) / √(mean(s²) + ε)."""

    @staticmethod
    def forward(ctx: FunctionCtx, states: Tensor) -> Tensor:
        kind = torch.promote_types(states.dtype, torch.float32)
        length = torch.linalg.vector_norm(states, dim=-1, keepdim=True, dtype=kind)
        resolution = torch.finfo(kind).eps
        inverse = (length.square() / states.shape[-1] + resolution).rsqrt()
        unit: Tensor = (states * inverse).to(states.dtype)
        ctx.save_for_backward(unit, inverse)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        saved: tuple[Tensor, Tensor] = ctx.saved_tensors
        unit, inverse = saved
        wide = grad.to(inverse.dtype)
        along = (wide * unit).mean(dim=-1, keepdim=True)
        back: Tensor = torch.addcmul(wide, unit.to(wide.dtype), along, value=-1).mul_(inverse)
        return back.to(unit.dtype)
