"""What the token path is trained on: every token of every lane, and how it was followed."""

from collections.abc import Mapping

import torch
from torch import Tensor

from boggers.data.windows import Batch
from boggers.field.drift import into_parts
from boggers.model.token import TokenModel, TokenReading
from boggers.model.token_state import TokenState
from boggers.train import extra_losses, losses
from boggers.train.loss import Loss, Terms
from boggers.train.loss_config import LossConfig


def loss_of_token(
    model: TokenModel,
    batch: Batch,
    config: LossConfig,
    generator: torch.Generator,
    carried: Mapping[str, Tensor],
) -> Loss:
    """Cross-entropy of every token of every lane, each going on from where its lane stood."""
    weights = config.weights
    state = TokenState(**carried) if carried else None
    reading: TokenReading = model(batch.contexts, state=state, generator=generator)
    terms = Terms(reading.logits.flatten(0, 1), batch.targets.flatten(), config)
    lengths = reading.fast.square().sum(dim=-1)
    if weights.energy > 0.0:
        energy = losses.energy_regulariser(lengths.flatten())
        terms.add("energy_regulariser", weights.energy, energy)
    if config.head_diversity_weight > 0.0:
        rows = (
            into_parts(v.flatten(0, 1), model.config.num_waves)
            for v in (reading.fast, reading.signals)
        )
        alike = extra_losses.head_diversity(model.drift.heads(*rows))
        terms.add("head_diversity", config.head_diversity_weight, alike)
    settling = {
        "tension": reading.settled("tension").mean(),
        "energy": lengths.detach().mean(),
        "residual": reading.settled("residual").mean(),
        "steps_used": reading.settled("steps").mean(),
        "breaks": reading.settled("breaks").mean(),
    }
    after = reading.state.detached().tensors()
    return Loss(terms.total, terms.parts, settling, carried=after, reading=reading)
