"""How large a model is."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class ParameterCounts:
    """Trainable numbers: all of them, and those of the embedding table."""

    total: int
    embedding: int


def count_parameters(model: nn.Module, embedding: nn.Parameter) -> ParameterCounts:
    """How many numbers training adjusts; what is shared counts once."""
    total = sum(p.numel() for p in model.parameters())
    return ParameterCounts(total=total, embedding=embedding.numel())
