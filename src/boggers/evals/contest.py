"""What a contestant is, and how large it may be.

A contest compares ways to predict the next token; everything else is equal for all who take part.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from boggers.errors import UserError

TRANSFORMER_SHARE = 12
"""Parameters of a transformer layer, in squares of its width."""

WIDTH_MULTIPLE = 32


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The size that every contestant has to come near, and the texts that it must read."""

    vocab_size: int
    """V, entries of the embedding table."""

    sequence_length: int
    """T, the longest sequence that comes."""

    non_embedding: int
    """Parameters besides the embedding table that are aimed at."""

    layers: int = 4
    """Layers of the contestants that are built of equal layers."""

    table_width: int | None = None
    """Numbers a token of the embedding table; chosen by the size if left out."""

    init: Literal["zero-out", "default"] = "zero-out"
    """zero-out: whatever writes into a residual stream starts at zero; default: as the
    contestant's authors start it."""

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--sequence-length", self.sequence_length, 2),
            ("--non-embedding", self.non_embedding, 1),
            ("--layers", self.layers, 1),
            ("--width", self.table_width, WIDTH_MULTIPLE),
        ):
            if value is not None and value < least:
                raise UserError(f"{flag} must be at least {least}; it is {value}.")

    @property
    def width(self) -> int:
        """Numbers a token of the embedding table, the same for all: that of a transformer.

        Unless it is given, the largest multiple of 32 up to √(non_embedding / (12 · layers)), at
        least 32. As all share it, contestants of equal non-embedding parameters are equal in total
        as well.

        Raises:
            UserError: a given width is no multiple of 32.
        """
        if self.table_width is not None:
            if self.table_width % WIDTH_MULTIPLE:
                raise UserError(
                    f"--width must be a multiple of {WIDTH_MULTIPLE}; it is {self.table_width}."
                )
            return self.table_width
        exact = math.sqrt(self.non_embedding / (TRANSFORMER_SHARE * self.layers))
        return max(1, int(exact / WIDTH_MULTIPLE)) * WIDTH_MULTIPLE

    def fill(self, count: Callable[[int], int], multiple: int) -> int:
        """The multiple whose `count` of parameters comes nearest to the target.

        Args:
            count: non-embedding parameters of a contestant of this inner width; increasing.
            multiple: inner widths that may be chosen, at least 1 of it.

        Raises:
            UserError: even the smallest is more than a tenth too large.
        """
        if count(multiple) > 1.1 * self.non_embedding:
            raise UserError(
                f"--non-embedding {self.non_embedding:,} is too small for a contestant: with "
                f"tables of width {self.width} it needs {count(multiple):,}. Allow more."
            )
        below, above = 1, 2
        while count(above * multiple) < self.non_embedding:
            below, above = above, 2 * above
        while above - below > 1:
            middle = (below + above) // 2
            if count(middle * multiple) < self.non_embedding:
                below = middle
            else:
                above = middle
        return multiple * min(
            (below, above), key=lambda n: abs(count(n * multiple) - self.non_embedding)
        )


Builder = Callable[[Budget, torch.Generator], nn.Module]
"""Makes a model of the budget's size, its weights drawn from the generator alone.

Its `forward` maps int64 tokens (B, T) to logits (B, T, V), those at place t from the tokens up to
t alone. Its embedding table is a parameter whose last name is `embedding`, so that the optimiser
gives it a rate of its own.
"""


@dataclass(frozen=True)
class Contestant:
    """A name and what builds the model behind it."""

    name: str
    build: Builder


@dataclass(frozen=True)
class Size:
    """Parameters of a model: all, and those besides its embedding table."""

    total: int
    non_embedding: int


def size_of(model: nn.Module) -> Size:
    """Count a contestant's parameters; what is shared counts once."""
    named = list(model.named_parameters())
    table = sum(p.numel() for name, p in named if name.rpartition(".")[2] == "embedding")
    total = sum(parameter.numel() for _, parameter in named)
    return Size(total=total, non_embedding=total - table)
