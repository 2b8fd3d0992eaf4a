"""The terms of the objective that are off unless asked for: options, and how each is computed."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import tyro
from jaxtyping import Float
from torch import Tensor

from boggers.errors import UserError
from boggers.field import drift
from boggers.shapes import Logits, PerRow, State, Targets

REMEMBERED = 8
"""Earlier batches that repulsion looks back at."""

STEEPNESS, REFERENCE = 8.0, 0.12
"""How the entropy floor depends on tension: σ(8 (T - 0.12)), as in the original."""


@dataclass(frozen=True, kw_only=True)
class ExtraLosses:
    """Weights and shapes of the terms that are off unless asked for."""

    intermediate_weight: Annotated[
        float, tyro.conf.arg(name="trajectory-intermediate-ce-weight")
    ] = 0.0
    """Weight of the window readout's cross-entropy at every step of settling, averaged."""

    guidance_nudge: Annotated[float, tyro.conf.arg(name="trajectory-guidance-nudge-scale")] = 0.0
    """Share of the way to its target state that a window is moved before each training step."""

    guidance_weight: Annotated[float, tyro.conf.arg(name="trajectory-guidance-mse-weight")] = 0.0
    """Weight of the mean squared distance between settled and target states."""

    guidance_states: Annotated[Path | None, tyro.conf.arg(name="trajectory-guidance-states")] = None
    """File of target states, one (W, D) for every training window in the order of the text: a
    tensor in .pt, or .npy; it is mapped from the disk, not read into memory."""

    guidance_from_embed: Annotated[bool, tyro.conf.arg(name="trajectory-guidance-from-embed")] = (
        False
    )
    """Take as targets what the embedding table of step 0 makes of each window."""

    guidance_batch: Annotated[int, tyro.conf.arg(name="trajectory-guidance-embed-batch-size")] = 256
    """Windows that are embedded at once for that; bounds its memory."""

    anchor_contrast_weight: Annotated[
        float, tyro.conf.arg(name="phase05-anchor-contrastive-weight")
    ] = 0.0
    """Weight of the pull of the last position to the next token's anchor, away from others'."""

    anchor_contrast_negatives: Annotated[
        int, tyro.conf.arg(name="phase05-anchor-contrastive-num-negatives")
    ] = 8
    """Random other tokens that it is compared with; at least 1."""

    anchor_contrast_margin: float = 1.0
    """How much nearer, in squared distance, the right anchor must be before the pull ends."""

    head_diversity_weight: Annotated[float, tyro.conf.arg(name="phase1-head-diversity-weight")] = (
        0.0
    )
    """Weight of the mean cosine between the drifts of two heads; needs heads to drift."""

    interaction_weight: Annotated[float, tyro.conf.arg(name="phase2-interaction-reg-weight")] = 0.0
    """Weight of ‖C - I‖² of the free mixing; needs --phase1-enable-window-interaction."""

    entropy_floor_weight: float = 0.0
    """Weight of the nats by which a prediction's entropy lies below its floor."""

    entropy_floor: float = 2.0
    """That floor for tense windows; up to half higher for calm ones, in nats."""

    repulsion_weight: float = 0.0
    """Weight of the mean cosine between last positions and those of the eight batches before."""

    @property
    def extra_weights(self) -> dict[str, float]:
        """The weight of each term by its flag."""
        return {
            "--trajectory-intermediate-ce-weight": self.intermediate_weight,
            "--trajectory-guidance-nudge-scale": self.guidance_nudge,
            "--trajectory-guidance-mse-weight": self.guidance_weight,
            "--phase05-anchor-contrastive-weight": self.anchor_contrast_weight,
            "--phase1-head-diversity-weight": self.head_diversity_weight,
            "--phase2-interaction-reg-weight": self.interaction_weight,
            "--entropy-floor-weight": self.entropy_floor_weight,
            "--repulsion-weight": self.repulsion_weight,
        }

    @property
    def guided(self) -> bool:
        """Whether target states are used at all."""
        return self.guidance_nudge > 0 or self.guidance_weight > 0

    def check_extra(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UserError: a weight is out of range, or targets are missing, given twice or unused.
        """
        for flag, weight in self.extra_weights.items():
            if not 0 <= weight < math.inf:
                raise UserError(f"{flag} must be at least 0; it is {weight}.")
        for flag, count in (
            ("--trajectory-guidance-embed-batch-size", self.guidance_batch),
            ("--phase05-anchor-contrastive-num-negatives", self.anchor_contrast_negatives),
        ):
            if count < 1:
                raise UserError(f"{flag} must be at least 1; it is {count}.")
        sources = (self.guidance_states is not None) + self.guidance_from_embed
        if sources > 1:
            raise UserError(
                "--trajectory-guidance-states and --trajectory-guidance-from-embed both say where "
                "target states come from; give one."
            )
        if self.guided and not sources:
            raise UserError(
                "Guidance needs target states: give --trajectory-guidance-states FILE or "
                "--trajectory-guidance-from-embed."
            )
        if sources and not self.guided:
            raise UserError(
                "Target states do nothing by themselves: give --trajectory-guidance-nudge-scale or "
                "--trajectory-guidance-mse-weight above 0."
            )


def intermediate_cross_entropy(
    readings: list[Logits], targets: Targets, smoothing: float = 0.0
) -> Tensor:
    """Mean over the steps of settling of the cross-entropy of what would be read there, in nats."""
    each = [F.cross_entropy(z, targets, label_smoothing=smoothing) for z in readings]
    return torch.stack(each).mean()


def guidance(state: State, target: State) -> Tensor:
    """Mean squared distance of the settled state to its target, which is held fixed."""
    return F.mse_loss(state, target.detach())


def anchor_contrast(
    last: Float[Tensor, "B D"],
    targets: Targets,
    anchors: Float[Tensor, "V D"],
    generator: torch.Generator,
    *,
    negatives: int,
    margin: float,
) -> Tensor:
    """The last position should lie nearer to the next token's anchor than to others'.

        mean_b relu( m + ‖s_b - a_y‖² - mean_k ‖s_b - a_n(k)‖² ),    n(k) uniform over V \\ {y}

    The hinge ends the pull; without it the loss has no lower bound. Other tokens' anchors are held
    fixed, the right one learns.
    """
    count = len(anchors)
    near = (last - anchors[targets]).square().sum(dim=-1)
    if count < 2:
        return near.mean()
    shape = (len(last), negatives)
    drawn = torch.randint(count - 1, shape, generator=generator, device=last.device)
    drawn = drawn + (drawn >= targets[:, None])
    far = (last[:, None] - anchors.detach()[drawn]).square().sum(dim=-1).mean(dim=-1)
    return F.relu(margin + near - far).mean()


def head_diversity(drifts: Tensor | None) -> Tensor:
    """Mean cosine between what two heads add to a wave; see `field.drift.head_diversity`.

    Raises:
        UserError: nothing drifts by heads, or there is one head only.
    """
    if drifts is None:
        raise UserError(
            "--phase1-head-diversity-weight needs heads: give --dynamics simple with two or more "
            "--phase1-num-heads, or --dynamics vectorized."
        )
    return drift.head_diversity(drifts)


def interaction_penalty(matrix: Tensor) -> Tensor:
    """‖C - I‖², the squared distance of a mixing from doing nothing."""
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return (matrix - eye).square().sum()


def entropy_floor_penalty(logits: Logits, tension: PerRow, floor: float) -> Tensor:
    """How far predictions are more certain than their window's tension allows, in nats.

        mean_b relu( φ (1 + ½ (1 - σ(8 (T_b - 0.12)))) - H(softmax(z_b)) )

    The tension is held fixed, so that nothing is gained by raising it.
    """
    floors = floor * (1 + 0.5 * (1 - torch.sigmoid(STEEPNESS * (tension.detach() - REFERENCE))))
    log_p = F.log_softmax(logits, dim=-1)
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    return F.relu(floors - entropy).mean()


def repulsion(last: Float[Tensor, "B D"], memory: Float[Tensor, "m D"]) -> Tensor:
    """Mean cosine of last positions with what earlier batches settled to; 0 without a memory."""
    if not len(memory):
        return last.sum() * 0.0
    return (F.normalize(last, dim=-1) @ F.normalize(memory, dim=-1).t()).mean()


def remembered(memory: Float[Tensor, "m D"], last: Float[Tensor, "B D"]) -> Tensor:
    """The memory with this batch's mean last position at its end; the eight latest stay."""
    mean = torch.nan_to_num(last.detach().mean(dim=0, keepdim=True), posinf=0.0, neginf=0.0)
    return torch.cat([memory, mean])[-REMEMBERED:]
