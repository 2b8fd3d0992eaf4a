"""The objective of one optimiser step: named losses, weighted and added.

Plain cross-entropy of the window readout is the main term unless `--loss-mode trajectory` asks
for the contrast of the settling path instead.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from boggers.data.windows import Batch
from boggers.errors import UserError
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel
from boggers.model.token import TokenModel
from boggers.train.loss import Loss
from boggers.train.loss_config import LossConfig
from boggers.train.loss_of_stream import loss_of_stream
from boggers.train.loss_of_token import loss_of_token
from boggers.train.loss_of_window import loss_of_window


def objective(
    model: Model,
    batch: Batch,
    config: LossConfig,
    generator: torch.Generator,
    carried: Mapping[str, Tensor] | None = None,
    *,
    deep: Tensor | None = None,
    watched: bool = False,
) -> Loss:
    """Run the model on a batch and add up the losses that have weight.

    total = Σ_i weight_i · loss_i

    Args:
        model: in training mode; the path of states is kept only if the contrast has weight.
        batch: contexts and the targets that follow, on the model's device.
        config: the weights and shapes of the terms.
        generator: on the model's device; feeds the model's noise and the choice of negatives.
        carried: what the step before left, in the same epoch.
        deep: (V,), tokens that a memory leaves out of the bigram bias.
        watched: keep the whole path of settling, for the records.
    """
    if isinstance(model, StreamModel):
        return loss_of_stream(model, batch, config, generator)
    if isinstance(model, TokenModel):
        return loss_of_token(model, batch, config, generator, carried or {})
    return loss_of_window(
        model, batch, config, generator, carried or {}, deep=deep, watched=watched
    )


def require_possible(config: LossConfig, architecture: str) -> None:
    """Refuse losses that an architecture does not have.

    Raises:
        UserError: a stream is to be trained on a loss of windows.
    """
    weights = config.weights
    windows_only = {
        "--loss-mode trajectory": weights.contrast,
        "--token-aux-ce": weights.token,
        "--readout-aux-alpha": weights.readout,
    }
    windows_only |= config.extra_weights
    if architecture == "token":
        windows_only.pop("--phase1-head-diversity-weight")
    wanted = [flag for flag, weight in windows_only.items() if weight > 0.0]
    if architecture != "window" and wanted:
        raise UserError(
            f"{wanted[0]} is a loss of the window model; a {architecture} is trained on plain "
            "cross-entropy at every position. Leave it out, or use --architecture window."
        )
