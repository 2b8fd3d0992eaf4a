"""What a run is trained on: the weights and shapes of the losses."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from boggers.errors import UserError
from boggers.train.extra_losses import ExtraLosses


@dataclass(frozen=True, kw_only=True)
class LossConfig(ExtraLosses):
    """What the model is trained on. A weight left out takes what the loss mode implies."""

    loss_mode: Literal["ce", "trajectory"] = "ce"
    """Main term. ce: plain next-token cross-entropy at weight 1, every other term off unless it
    is given a weight. trajectory: the path contrast at weight 1 with the cross-entropies as
    auxiliaries (token 0.2, readout 0.15, energy 0.001 unless given)."""

    label_smoothing: float = 0.0
    """Share of each target's mass spread over the vocabulary in every cross-entropy that is
    trained on; in [0, 1). Reported cross-entropies are never smoothed."""

    trajectory_contrast_weight: float | None = None
    """Weight of the path contrast: each settling state against its own next one and others'."""

    trajectory_margin: float = 0.2
    """How much closer, in cosine, a state's own next step must be than another sample's."""

    multi_negative: Annotated[bool, tyro.conf.arg(name="phase05-multi-negative")] = False
    """Compare with the mean of several other samples instead of one."""

    num_negatives: Annotated[int, tyro.conf.arg(name="phase05-num-negatives")] = 4
    """How many, with `--phase05-multi-negative`; at least 1."""

    trajectory_temperature: Annotated[
        float | None, tyro.conf.arg(name="phase05-traj-temperature")
    ] = None
    """Softness of the path contrast's hinge, about 0.05 to 1; a hard hinge when left out."""

    token_auxiliary_weight: Annotated[float | None, tyro.conf.arg(name="token-aux-ce")] = None
    """Weight of the window readout's shaped cross-entropy (bigram bias, entropy bonus)."""

    token_bigram_bias: float | None = None
    """Strength of the previous token's embedding as a bias inside that term, about 0.02 to 1."""

    token_entropy_bonus: float = 0.03
    """Nats of loss that one nat of predictive entropy is worth inside that term; at least 0."""

    readout_auxiliary_weight: Annotated[float | None, tyro.conf.arg(name="readout-aux-alpha")] = (
        None
    )
    """Weight of the cross-entropy of the head that reads the last position alone."""

    energy_weight: Annotated[float | None, tyro.conf.arg(name="phase05-energy-reg-weight")] = None
    """Weight of the mean squared energy of the settled states."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UserError(f"--label-smoothing must be in [0, 1); it is {self.label_smoothing}.")
        if self.num_negatives < 1:
            raise UserError(
                f"--phase05-num-negatives must be at least 1; it is {self.num_negatives}."
            )
        if self.trajectory_temperature is not None and self.trajectory_temperature <= 0.0:
            raise UserError(
                "--phase05-traj-temperature must be above 0, or left out for a hard hinge; "
                f"it is {self.trajectory_temperature}."
            )
        if self.token_entropy_bonus < 0.0:
            raise UserError(
                f"--token-entropy-bonus must be at least 0; it is {self.token_entropy_bonus}."
            )
        for flag, weight in (
            ("--trajectory-contrast-weight", self.trajectory_contrast_weight),
            ("--token-aux-ce", self.token_auxiliary_weight),
            ("--readout-aux-alpha", self.readout_auxiliary_weight),
            ("--phase05-energy-reg-weight", self.energy_weight),
        ):
            if weight is not None and not 0.0 <= weight < math.inf:
                raise UserError(f"{flag} must be at least 0; it is {weight}.")
        self.check_extra()
        if not any((*dataclasses.astuple(self.weights), *self.extra_weights.values())):
            raise UserError("Some loss must have weight, but all weights are 0; give one.")

    @property
    def weights(self) -> "LossWeights":
        """The weight of every term, after the loss mode has filled in those left out."""
        implied = _TRAJECTORY if self.loss_mode == "trajectory" else _CROSS_ENTROPY
        return LossWeights(
            cross_entropy=implied.cross_entropy,
            contrast=_given(self.trajectory_contrast_weight, implied.contrast),
            token=_given(self.token_auxiliary_weight, implied.token),
            readout=_given(self.readout_auxiliary_weight, implied.readout),
            energy=_given(self.energy_weight, implied.energy),
        )


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The factor of each term in the total; a term of weight 0 is not computed."""

    cross_entropy: float
    contrast: float
    token: float
    readout: float
    energy: float


_CROSS_ENTROPY = LossWeights(cross_entropy=1.0, contrast=0.0, token=0.0, readout=0.0, energy=0.0)
_TRAJECTORY = LossWeights(cross_entropy=0.0, contrast=1.0, token=0.2, readout=0.15, energy=0.001)


def _given(weight: float | None, implied: float) -> float:
    return implied if weight is None else weight
