"""What a stream is trained on: every position's next token."""

import torch
from torch import Tensor

from boggers.data.windows import Batch
from boggers.model.stream import StreamModel
from boggers.train import losses
from boggers.train.loss import Loss, Terms
from boggers.train.loss_config import LossConfig


def loss_of_stream(
    model: StreamModel, batch: Batch, config: LossConfig, generator: torch.Generator
) -> Loss:
    """Cross-entropy of every position, and the energy that every stage came to rest at."""
    weights = config.weights
    reading = model(batch.contexts, generator=generator)
    terms = Terms(reading.logits.flatten(0, 1), batch.targets.flatten(), config)
    if weights.energy > 0.0 and reading.settled:
        heights = [
            rest.slope.energy(rest.state, rest.proposal).flatten() for rest in reading.settled
        ]
        energy = losses.energy_regulariser(torch.cat(heights))
        terms.add("energy_regulariser", weights.energy, energy)
    settling: dict[str, Tensor] = {}
    if reading.settled:
        settling["residual"] = torch.stack([s.residual.mean() for s in reading.settled]).mean()
        settling["steps_used"] = torch.stack(
            [s.steps.float().mean() for s in reading.settled]
        ).mean()
        settling["breaks"] = torch.stack([s.breaks.float().mean() for s in reading.settled]).sum()
    return Loss(terms.total, terms.parts, settling)
