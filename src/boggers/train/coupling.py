"""Where a run meets its graph and its memory; neither is imported by a run that has none."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from boggers.data.windows import Batch
from boggers.model.architectures import Model
from boggers.parallel import ALONE, World
from boggers.train.loss import Loss
from boggers.train.run import Run, RunConfig


class Coupling(Protocol):
    """What the training loop tells a graph and a memory, and what it hears from them."""

    def before_step(self) -> float:
        """Let the graph feel a beat that ended; the factor of the next learning rate."""

    def controls(self) -> AbstractContextManager[None]:
        """Inside this context the model settles as the graph wants."""

    def deep(self) -> Tensor | None:
        """Tokens to be left out of the bigram bias, (V,)."""

    def after_step(self, batch: Batch, loss: Loss) -> None:
        """Take in the tokens of a step and how tense it was; waits for nothing."""

    def measurements(self) -> dict[str, float]:
        """Columns of the metrics row that is due, by name; waits for the device."""

    def epoch_counts(self) -> dict[str, float]:
        """What the graph felt in the epoch that ends here."""

    def save(self, folder: Path) -> None:
        """Write what a resumed run needs into a checkpoint."""

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint."""

    def close(self) -> tuple[str, ...]:
        """End; sentences that a person should read."""


def make_coupling(
    config: RunConfig, model: Model, run: Run, device: torch.device, world: World = ALONE
) -> Coupling | None:
    """The graph and the memory that a run asks for; None if it asks for neither.

    Every process of a run has its own and tells it the same, so that all stay alike; the first one
    alone writes the database and speaks to the webhook.
    """
    if not config.graph.anything:
        return None
    from boggers.train.substrate import GraphCoupling

    return GraphCoupling(config.graph, model, run, device, speaks=world.is_first)
