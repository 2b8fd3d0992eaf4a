"""How the weights move: AdamW, and a learning rate that is a pure function of the step.

Because the rate is never stored, a resumed run continues exactly and a new `--lr` is honoured.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from boggers.errors import UserError


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser and its schedule."""

    lr: float = 1e-3
    """Peak learning rate, above 0; about 1e-4 to 1e-2."""

    schedule: Literal["constant", "cosine", "wsd"] = "constant"
    """Shape after the warm-up: constant; cosine (half a wave down to the final fraction over the
    whole run); wsd (warm up, stay, then decay linearly over the last `--decay-fraction`)."""

    warmup_steps: int = 0
    """Steps over which the rate climbs linearly from 0 to `--lr`."""

    decay_fraction: float = 0.2
    """Share of the run, at its end, in which the wsd schedule decays; in (0, 1]."""

    final_lr_fraction: float = 0.0
    """Where cosine and wsd end, as a share of `--lr`; in [0, 1]."""

    lr_decay_every: int | None = None
    """Multiply the rate by `--lr-gamma` after every so many epochs, on top of the schedule."""

    lr_gamma: float = 0.5
    """Factor of that step decay; in (0, 1]."""

    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates of the gradient's mean and of its square; each in [0, 1)."""

    weight_decay: float = 0.01
    """Decoupled weight decay of matrices per unit of learning rate; vectors, biases and scalars
    are never decayed."""

    grad_clip: float | None = None
    """Longest global gradient (L2 norm over all weights); a longer one is scaled down to it."""

    def __post_init__(self) -> None:
        _require(0 < self.lr < math.inf, "--lr must be above 0", self.lr)
        _require(self.warmup_steps >= 0, "--warmup-steps must be at least 0", self.warmup_steps)
        _require(
            0 < self.decay_fraction <= 1, "--decay-fraction must be in (0, 1]", self.decay_fraction
        )
        _require(
            0 <= self.final_lr_fraction <= 1,
            "--final-lr-fraction must be in [0, 1]",
            self.final_lr_fraction,
        )
        _require(
            self.lr_decay_every is None or self.lr_decay_every >= 0,
            "--lr-decay-every must be a number of epochs, or 0 for none",
            self.lr_decay_every,
        )
        _require(0 < self.lr_gamma <= 1, "--lr-gamma must be in (0, 1]", self.lr_gamma)
        _require(all(0 <= b < 1 for b in self.betas), "--betas must be in [0, 1)", self.betas)
        _require(self.weight_decay >= 0, "--weight-decay must be at least 0", self.weight_decay)
        _require(
            self.grad_clip is None or self.grad_clip > 0,
            "--grad-clip must be above 0, or left out for none",
            self.grad_clip,
        )


def learning_rate(config: OptimConfig, step: int, total: int, steps_per_epoch: int) -> float:
    """The rate of optimiser step `step` (counted from 0) in a run of `total` steps.

    lr · min(1, (step + 1) / (warmup + 1)) · shape(step / total) · γ^⌊epoch / every⌋
    """
    rate = config.lr * min(1.0, (step + 1) / (config.warmup_steps + 1))
    rate *= _shape(config, step, total)
    if config.lr_decay_every:
        rate *= config.lr_gamma ** (step // steps_per_epoch // config.lr_decay_every)
    return rate


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """Fused AdamW over every parameter, in two groups: decayed matrices, and the rest.

    Decoupled weight decay after Loshchilov and Hutter (2019), "Decoupled Weight Decay
    Regularization". The fused kernel is used on every device: besides being the fastest, it can
    refuse an update on the device itself, which `guarded_step` relies on.
    """
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim >= 2 and not name.endswith("bias")
        (decayed if is_matrix else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        fused=True,
    )


def guarded_step(
    optimizer: torch.optim.AdamW, loss: Tensor, rate: float, grad_clip: float | None
) -> tuple[Tensor, Tensor]:
    """Clip, then update the weights, unless the loss or a gradient is not finite.

    The decision is taken on the device: the fused kernel receives the verdict as a tensor (the
    mechanism that gradient scaling uses) and leaves weights, moments and step counts untouched,
    bit for bit. The host is never made to wait for it, as a Python `if` would at every step.

    Args:
        optimizer: fused; its gradients are filled in.
        loss: the scalar that was differentiated.
        rate: the learning rate of this step.
        grad_clip: longest allowed global gradient norm, or None.

    Returns:
        The gradient's global norm before clipping, and whether the step was skipped (0 or 1);
        both scalars on the device.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if grad_clip is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, grad_clip, norm)
    skipped = ~(torch.isfinite(loss.detach()) & torch.isfinite(norm))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.found_inf = skipped.to(torch.float32)  # type: ignore[attr-defined]
    optimizer.step()
    return norm, optimizer.found_inf  # type: ignore[attr-defined]


def _shape(config: OptimConfig, step: int, total: int) -> float:
    if config.schedule == "cosine":
        left = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / total)))
    elif config.schedule == "wsd":
        left = min(1.0, max(0.0, (total - step) / max(1.0, config.decay_fraction * total)))
    else:
        return 1.0
    return config.final_lr_fraction + (1.0 - config.final_lr_fraction) * left


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise UserError(f"{rule}; it is {value}.")
