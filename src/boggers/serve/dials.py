"""How a request wants its states to settle."""

from dataclasses import dataclass

from boggers.errors import UserError
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel
from boggers.model.window import WindowModel
from boggers.serve.bias import Bias

MOST_STEPS = 64
"""Relaxation steps that a request may ask for."""


@dataclass(frozen=True)
class Dials:
    """The settling of a text; texts of equal dials settle together.

    Attributes:
        steps: relaxation steps K, of every stage in a stream.
        tolerance: what must move less than this rests: a window's energy in a step, a stream's
            position as a share of its length; 0 = nothing rests early.
        bias: an energy added to the model's own.
    """

    steps: int
    tolerance: float
    bias: Bias | None = None


def dials_for(
    model: Model,
    steps: int | None = None,
    tolerance: float | None = None,
    bias: Bias | None = None,
) -> Dials:
    """The dials of a request; what it leaves open is as the model was trained.

    Raises:
        UserError: the model cannot settle like that.
    """
    trained = model.config.num_dynamics_steps
    taken = trained if steps is None else steps
    if not 0 <= taken <= max(MOST_STEPS, trained):
        raise UserError(f"relax_steps must be from 0 to {MOST_STEPS}, {taken} came.")
    if taken > 0 and trained == 0:
        raise UserError(
            f"This model was trained with no relaxation steps, so it cannot take {taken}. "
            "Leave relax_steps out."
        )
    if bias is not None and taken == 0:
        raise UserError(
            "energy_bias needs at least one relaxation step to act in. Raise relax_steps."
        )
    if isinstance(model, WindowModel):
        rests = model.config.convergence_epsilon
    else:
        assert isinstance(model, StreamModel)  # `load_mind` refuses all others
        rests = model.config.relax_tolerance
    return Dials(taken, rests if tolerance is None else tolerance, bias)
