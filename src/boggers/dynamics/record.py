"""What a relaxation returns."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from boggers.shapes import PerRow, State


@dataclass(frozen=True)
class Kick:
    """The breaks of one step: states before the step, after it, and after its breaks; detached."""

    start: State
    before: State
    after: State


@dataclass(frozen=True)
class Relaxation:
    """A settled window and how it came to rest.

    Attributes:
        state: (B, W, D), where each row rests; carries gradient.
        tension: (T, B) after each recorded step and before that step's breaks; detached. T is the
            number of steps when curves are kept, else 1 (the last step), or 0 without steps.
        energy: (T, B) of the state after the step and its breaks; detached.
        steps: (B,) steps taken before the row came to rest.
        breaks: (B,) breaks that were carried out.
        residual: (B,) length of the last step, ‖ΔS_b‖ over the whole row.
        path: the state after every step, or None when it was not asked for.
        kicks: the breaks of every step, or None when they were not asked for.
        coupling_scale: (B,) share of the coupling at the end, where it is paced by tension.
        frozen: (B, W, N) waves that felt no force in the last step, where waves freeze.
    """

    state: State
    tension: Float[Tensor, "T B"]
    energy: Float[Tensor, "T B"]
    steps: Int64[Tensor, " B"]
    breaks: Int64[Tensor, " B"]
    residual: PerRow
    path: tuple[State, ...] | None = None
    kicks: tuple[Kick, ...] | None = None
    coupling_scale: PerRow | None = None
    frozen: Tensor | None = None
