"""Local stability: the largest eigenvalue of the update's Jacobian."""

from collections.abc import Callable

import torch
from torch import Tensor

from boggers.shapes import PerRow, State

KRYLOV = 32
"""Dimension of the space in which eigenvalues are looked for."""

TINY = 1e-6


def spectral_radius(
    update: Callable[[State], State], state: State, *, dimension: int = KRYLOV
) -> PerRow:
    """ρ = max |λ(J)|, J = ∂update/∂state, of every row at its state, (N,).

    Below 1 a small disturbance dies out, above 1 it grows. J is never written down: Arnoldi's
    method takes products vᵀJ (J and Jᵀ have the same eigenvalues) from backpropagation and
    finds ρ in the space of the first `dimension` of them; exactly if the state has no more
    numbers. Rows are independent, so all are treated at once.

    Args:
        update: (N, P, D) to (N, P, D), each row by itself, differentiable.
        state: where.
        dimension: of the Krylov space, at least 1.

    Source: Arnoldi (1951).
    """
    with torch.enable_grad():
        at = state.detach().clone().requires_grad_(True)
        after = update(at).flatten(1)

    def pulled(vector: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(after, at, vector.to(after), retain_graph=True)
        return gradient.flatten(1).double()

    rows, size = after.shape
    noise = torch.Generator().manual_seed(0)
    vector = torch.randn(rows, size, generator=noise).double().to(after.device)
    basis = [vector / vector.norm(dim=1, keepdim=True)]
    count = min(dimension, size)
    hessenberg = torch.zeros(rows, count, count, dtype=torch.float64, device=after.device)
    for k in range(count):
        vector = pulled(basis[k])
        for _ in range(2):  # a second pass removes what rounding left of the first
            for j, known in enumerate(basis):
                part = (vector * known).sum(dim=1)
                hessenberg[:, j, k] += part
                vector = vector - part[:, None] * known
        length = vector.norm(dim=1)
        if k + 1 < count:
            # A space that J maps into itself is complete: nothing is added to it.
            goes_on = length > TINY
            hessenberg[:, k + 1, k] = torch.where(goes_on, length, 0.0)
            basis.append(torch.where(goes_on[:, None], vector / length[:, None].clamp_min(TINY), 0))
    radius: Tensor = torch.linalg.eigvals(hessenberg).abs().amax(dim=1).to(state.dtype)
    return radius
