"""How a trained run is to settle: options that several verbs share."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from boggers.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Relaxing:
    """Settle otherwise than in training."""

    relax_steps: Annotated[int | None, tyro.conf.arg(aliases=("--max-relax-steps",))] = None
    """Let states settle for so many steps at most, instead of those of the training; 0 reads them
    unsettled."""

    relax_tolerance: float | None = None
    """Let a window rest once its energy changes by less than this in a step; a position of a
    stream, once a step moves it by less than this share of its length."""

    def __post_init__(self) -> None:
        for flag, value in (
            ("--relax-steps", self.relax_steps),
            ("--relax-tolerance", self.relax_tolerance),
        ):
            if value is not None and value < 0:
                raise UserError(f"{flag} must be at least 0; it is {value}.")
