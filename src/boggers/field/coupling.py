"""Couplings: linear maps along the window's axis, each one W×W operator, or one per wave."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boggers.field.waves import split_waves
from boggers.shapes import State

ASYMMETRY_GAIN = 1.25
ASYMMETRY_FLOOR = 0.2


def inverse_softplus(value: float) -> float:
    """The x with softplus(x) = value, for value > 0."""
    return math.log(math.expm1(value))


class PositionalCoupling(nn.Module):
    """Pulls each position towards its neighbours, near ones harder.

        w_ij = exp(-γ|i-j|) · max(0.2, 1 + 1.25 tanh(a) sign(j-i)),   w_ii = 0
        S_i ← S_i + h κ Σ_j w_ij (S_j - S_i),                         γ, κ, h > 0 learned

    i receives, j sends. a = 0 couples both directions alike (the step is then gradient descent on
    ½ Σ_{i<j} w_ij ‖S_i - S_j‖²); a > 0 favours later neighbours, a < 0 earlier ones.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.decay_raw = nn.Parameter(torch.tensor(inverse_softplus(0.52)))
        self.strength_raw = nn.Parameter(torch.tensor(inverse_softplus(0.07)))
        self.step_raw = nn.Parameter(torch.tensor(inverse_softplus(0.09)))
        self.asymmetry = nn.Parameter(torch.tensor(0.0))
        offset = torch.arange(window)[None, :] - torch.arange(window)[:, None]
        self.register_buffer("offset", offset, persistent=False)
        self.offset: Tensor

    def weights(self) -> Tensor:
        """w, (W, W), zero on the diagonal."""
        decay = F.softplus(self.decay_raw) + 1e-6
        lean = 1 + ASYMMETRY_GAIN * torch.tanh(self.asymmetry) * self.offset.sign()
        weights = torch.exp(-decay * self.offset.abs()) * lean.clamp_min(ASYMMETRY_FLOOR)
        return weights * (self.offset != 0)

    def laplacian(self) -> Tensor:
        """h κ (w - diag(w·1)), (W, W): what one step of coupling adds."""
        weights = self.weights()
        rate = F.softplus(self.step_raw) * F.softplus(self.strength_raw)
        return rate * (weights - torch.diag(weights.sum(dim=1)))


class WaveCoupling(nn.Module):
    """A learned, free mixing of positions, another one for every wave: S⁽ⁿ⁾ ← S⁽ⁿ⁾ + C⁽ⁿ⁾ S⁽ⁿ⁾.

    C (N, W, W) starts at zero. Each wave thereby learns its own reach: one carries the last word,
    another the mood of the window. It is not the gradient of anything, as no C with C ≠ Cᵀ is, and
    is declared a coupling for that reason.
    """

    def __init__(self, num_waves: int, window: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(num_waves, window, window))


class WindowInteraction(nn.Module):
    """A learned, free mixing of positions: S_j ← S_j + scale · Σ_i C̃_ij S_i.

    C̃ = C ⊙ exp(-|i-j|/τ) when τ is given, else C. C starts as the identity with a little noise,
    which renormalisation makes a no-op until training moves it.
    """

    def __init__(
        self, window: int, scale: float, decay_tau: float | None, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.scale = scale
        noise = torch.randn(window, window, generator=generator) * 0.01
        self.matrix = nn.Parameter(torch.eye(window) + noise * (1 - torch.eye(window)))
        distance = (torch.arange(window)[None, :] - torch.arange(window)[:, None]).abs()
        mask = torch.ones(window, window) if decay_tau is None else torch.exp(-distance / decay_tau)
        self.register_buffer("mask", mask, persistent=False)
        self.mask: Tensor

    def operator(self) -> Tensor:
        """scale · C̃ᵀ, (W, W): what one interaction adds."""
        return self.scale * (self.matrix * self.mask).t()


def mix_positions(operator: Tensor, state: State) -> State:
    """Σ_j operator_ij S_j for every row of (B, W, D).

    The operator is (W, W), the same for all channels, or (N, W, W), one for each wave.
    """
    if operator.ndim == 2:
        # A broadcast `matmul` copies the state twice to fold its rows into one product.
        return torch.bmm(operator.expand(len(state), *operator.shape), state)
    waves = split_waves(state, len(operator))
    return torch.einsum("nij,bjnc->binc", operator, waves).reshape(state.shape)
