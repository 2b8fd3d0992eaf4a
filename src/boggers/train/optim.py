"""How the weights move: AdamW and Muon, and a learning rate that is a pure function of the step.

Because the rate is never stored, a resumed run continues exactly and a new `--lr` is honoured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from boggers.errors import UserError
from boggers.train.light import AdamW
from boggers.train.muon import Muon
from boggers.train.spread import is_spread


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser and its schedule."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw: AdamW for every weight; muon: Muon for the matrices between states, AdamW for the
    embedding table, vectors and scalars."""

    lr: float = 1e-3
    """Peak learning rate of AdamW, above 0; about 1e-4 to 1e-2."""

    muon_lr: float = 0.02
    """Peak learning rate of Muon's matrices, above 0; about 0.005 to 0.05. It follows the same
    schedule as `--lr`."""

    embedding_lr: float | None = None
    """Peak learning rate of the tables whose rows are looked up, above 0; `--lr` if left out."""

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

    embedding_decay: float | None = None
    """The same for tables whose rows are looked up; `--weight-decay` if left out. A rare row is
    seldom taught and always decayed."""

    phrase_decay: float | None = None
    """The same for the table of phrases; `--embedding-decay` if left out. It has many rows for what
    little a text says of each, so that it learns a text read twice by heart unless it decays."""

    grad_clip: float | None = None
    """Longest global gradient (L2 norm over all weights); a longer one is scaled down to it."""

    def __post_init__(self) -> None:
        _require(0 < self.lr < math.inf, "--lr must be above 0", self.lr)
        _require(0 < self.muon_lr < math.inf, "--muon-lr must be above 0", self.muon_lr)
        _require(
            self.embedding_lr is None or 0 < self.embedding_lr < math.inf,
            "--embedding-lr must be above 0",
            self.embedding_lr,
        )
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
            self.embedding_decay is None or self.embedding_decay >= 0,
            "--embedding-decay must be at least 0",
            self.embedding_decay,
        )
        _require(
            self.phrase_decay is None or self.phrase_decay >= 0,
            "--phrase-decay must be at least 0",
            self.phrase_decay,
        )
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


EMBEDDING, PHRASES = "embedding", "phrase_table"
"""Last names of parameters whose rows are looked up."""


class Optimizer:
    """AdamW for some weights and Muon for others, moved as one.

    Attributes:
        param_groups: of both; each group's rate is the step's rate times the group's `scale`.
        state: the moments of every weight, whichever of the two moves it.
    """

    def __init__(self, adamw: AdamW, muon: Muon | None = None) -> None:
        self.adamw = adamw
        self.muon = muon
        self.param_groups: list[dict[str, Any]] = list(adamw.param_groups)
        self.state: dict[Tensor, Any] = adamw.state
        if muon is not None:
            self.param_groups += muon.param_groups
            muon.state = adamw.state  # one table of moments, so that a checkpoint holds them all

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        self.adamw.zero_grad(set_to_none)
        if self.muon is not None:
            self.muon.zero_grad(set_to_none)

    def step(self, skipped: Tensor | None = None) -> None:
        """Move every weight, or none where `skipped`, a scalar on the device, is not zero."""
        # The fused kernel refuses by itself, by the mechanism that gradient scaling uses.
        self.adamw.found_inf = skipped  # type: ignore[attr-defined]
        self.adamw.step()
        if self.muon is not None:
            self.muon.step(skipped=skipped)


def make_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """The optimiser of a model's weights: decayed matrices, the embedding table, and the rest.

    Decoupled weight decay after Loshchilov and Hutter (2019), "Decoupled Weight Decay
    Regularization". AdamW's fused kernel is used on every device: besides being the fastest, it
    can refuse an update on the device itself, which `guarded_step` relies on. Muon (Jordan et al.,
    2024, "Muon: an optimizer for hidden layers") moves the matrices that map states to states,
    orthogonalised; a table of embeddings is not one, its rows are looked up.
    """
    table: list[Tensor] = []
    phrases: list[Tensor] = []
    matrices: list[Tensor] = []
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    scalars: list[Tensor] = []
    for name, parameter in model.named_parameters():
        last = name.rpartition(".")[2]
        if last in (EMBEDDING, PHRASES):
            (table if last == EMBEDDING else phrases).append(parameter)
        elif parameter.ndim == 0:  # apart: a scalar is never spread over processes
            scalars.append(parameter)
        elif parameter.ndim < 2 or name.endswith("bias"):
            free.append(parameter)
        elif config.optimizer == "muon" and parameter.ndim == 2:
            matrices.append(parameter)
        else:
            decayed.append(parameter)
    table_rate = config.lr if config.embedding_lr is None else config.embedding_lr
    decay = config.weight_decay
    table_decay = decay if config.embedding_decay is None else config.embedding_decay
    phrase_decay = table_decay if config.phrase_decay is None else config.phrase_decay
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": decay, "scale": 1.0},
        {"params": table, "weight_decay": table_decay, "scale": table_rate / config.lr},
        {"params": phrases, "weight_decay": phrase_decay, "scale": table_rate / config.lr},
        {"params": free, "weight_decay": 0.0, "scale": 1.0},
        {"params": scalars, "weight_decay": 0.0, "scale": 1.0},
    ]
    adamw = AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        fused=True,
    )
    if not matrices:
        return Optimizer(adamw)
    muon = Muon(matrices, lr=config.muon_lr, weight_decay=decay)
    muon.param_groups[0]["scale"] = config.muon_lr / config.lr
    return Optimizer(adamw, muon)


def guarded_step(
    optimizer: Optimizer, loss: Tensor, rate: float, grad_clip: float | None
) -> tuple[Tensor, Tensor]:
    """Clip, then update the weights, unless the loss or a gradient is not finite.

    The decision is taken on the device and leaves weights, moments and step counts untouched, bit
    for bit. The host is never made to wait for it, as a Python `if` would at every step.

    Args:
        optimizer: its gradients are filled in.
        loss: the scalar that was differentiated.
        rate: the learning rate of this step, of groups whose scale is 1.
        grad_clip: longest allowed global gradient norm, or None.

    Returns:
        The gradient's global norm before clipping, and whether the step was skipped (0 or 1);
        both scalars on the device.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kinds = [kind for kind in _by_kind(parameters) if kind]
    norm = total_norm(kinds)
    if grad_clip is not None:
        for kind in kinds:
            torch.nn.utils.clip_grads_with_norm_(kind, grad_clip, norm)
    skipped = (~(torch.isfinite(loss.detach()) & torch.isfinite(norm))).to(torch.float32)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    optimizer.step(skipped)
    return norm, skipped


def total_norm(groups: Sequence[Sequence[Tensor]]) -> Tensor:
    """The global L2 norm of the gradients of parameters, over all processes that have a part.

    Args:
        groups: parameters spread over processes apart from others.
    """
    norms = []
    for group in groups:
        norm = torch.nn.utils.get_total_norm([p.grad for p in group if p.grad is not None])
        norms.append(norm.full_tensor() if is_spread(norm) else norm)
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))


def _by_kind(parameters: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters spread over processes, and the others."""
    spread: list[Tensor] = [p for p in parameters if is_spread(p)]
    return spread, [p for p in parameters if not is_spread(p)]


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
