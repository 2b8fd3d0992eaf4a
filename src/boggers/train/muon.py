"""Muon that is quick on every processor and can refuse a step without asking the host."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from boggers.train.light import Light
from boggers.train.spread import is_spread

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor, Placement

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; chosen for the steepest slope at zero (Jordan et al., 2024)."""

ITERATIONS = 5
TINY = 1e-7


class Muon(Light, torch.optim.Muon):
    """torch's Muon with all matrices of one shape moved together, on a processor in float32.

        B ← μ B + (1 - μ) G        W ← (1 - η λ) W - η √max(1, rows/columns) · UVᵀ

    UVᵀ is the orthogonal part of (1 - μ) G + μ B, approximately. torch iterates in bfloat16, which
    a processor without such products computes many times more slowly than float32: the optimiser's
    step for a million weights took 790 ms on one and takes 50 so. Options, state and parameter
    groups are torch's. Of a matrix spread over processes each has and moves its rows; what is made
    orthogonal is gathered for it, since that takes the whole, and every process computes it.

    Source: Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks".
    """

    @torch.no_grad()
    def step(self, closure: None = None, *, skipped: Tensor | None = None) -> None:  # type: ignore[override]
        """Move every matrix, or none where `skipped`, a scalar on the device, is not zero."""
        for group in self.param_groups:
            alike: dict[Any, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape, matrix.dtype, matrix.device].append(matrix)
            for matrices in alike.values():
                self._move(matrices, group, skipped)

    def _move(self, matrices: list[Tensor], group: dict[str, Any], skipped: Tensor | None) -> None:
        """Move matrices of one shape."""
        gradient = torch.stack([_here(m.grad) for m in matrices if m.grad is not None])
        if skipped is not None:  # a gradient that is not finite would spoil what it is added to
            gradient = torch.where(skipped.bool(), 0.0, gradient)
        moments = [
            _here(self.state[m].setdefault("momentum_buffer", torch.zeros_like(m).detach()))
            for m in matrices
        ]
        weight = 1 - group["momentum"]
        moment = torch.stack(moments).lerp(gradient, weight)
        towards = gradient.lerp(moment, group["momentum"]) if group["nesterov"] else moment
        rows, columns = matrices[0].shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        shrunk = 1 - group["lr"] * group["weight_decay"]
        whole = orthogonal_part(_gathered(towards, matrices[0]))
        change = -rate * _own(whole, matrices[0]).to(gradient.dtype)
        parts = [_here(matrix) for matrix in matrices]
        for matrix, kept, new, moved in zip(parts, moments, moment, change, strict=True):
            after = torch.add(moved, matrix, alpha=shrunk)
            if skipped is None:
                kept.copy_(new)
                matrix.copy_(after)
            else:
                kept.copy_(torch.where(skipped.bool(), kept, new))
                matrix.copy_(torch.where(skipped.bool(), matrix, after))


def _here(tensor: Tensor) -> Tensor:
    """The rows of a matrix that this process has; they share its memory."""
    return tensor.to_local() if is_spread(tensor) else tensor


def _gathered(parts: Tensor, like: Tensor) -> Tensor:
    """Whole matrices (N, rows, columns) from the parts of all processes, spread as `like` is."""
    if not is_spread(like):
        return parts
    from torch.distributed.tensor import DTensor

    size = torch.Size((len(parts), *like.shape))
    stride = (like.shape.numel(), like.shape[1], 1)
    placed = _of_each(like)
    return DTensor.from_local(
        parts.contiguous(), like.device_mesh, placed, shape=size, stride=stride
    ).full_tensor()


def _own(whole: Tensor, like: Tensor) -> Tensor:
    """The part of whole matrices that this process has."""
    if not is_spread(like):
        return whole
    from torch.distributed.tensor import DTensor, Replicate

    everywhere = [Replicate()] * like.device_mesh.ndim
    copies = DTensor.from_local(whole.contiguous(), like.device_mesh, everywhere)
    return copies.redistribute(placements=_of_each(like)).to_local()


def _of_each(like: "DTensor") -> "list[Placement]":
    """How many matrices in one tensor lie where `like` lies alone."""
    from torch.distributed.tensor import Shard

    return [Shard(p.dim + 1) if isinstance(p, Shard) else p for p in like.placements]


def orthogonal_part(matrices: Tensor) -> Tensor:
    """U Vᵀ of the singular value decompositions U Σ Vᵀ of (N, rows, columns), approximately.

    Five quintic Newton–Schulz iterations, which leave singular values between about 0.7 and 1.2; in
    bfloat16 on an accelerator, in float32 at least on a processor.
    """
    kind = torch.promote_types(matrices.dtype, torch.float32)
    if matrices.device.type != "cpu":
        kind = torch.bfloat16
    x = matrices.to(kind)
    upright = matrices.shape[-2] > matrices.shape[-1]
    if upright:
        x = x.mT
    x = x / x.flatten(1).norm(dim=1).clamp_min(TINY)[:, None, None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if upright else x
