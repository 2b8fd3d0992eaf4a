"""What the settling of positions came to, as plain numbers."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from boggers.dynamics.record import Relaxation
from boggers.dynamics.settle import Settling
from boggers.field.tension import step_tension


@dataclass(frozen=True, slots=True)
class Physics:
    """How one position settled before the token after it was read from it.

    Attributes:
        energy: at the end; of a stream, summed over its stages.
        tension: of the window at the end; of a stream, that of its position's last step.
        residual: length of the last step; of a stream as a share of the state's, mean of stages.
        steps: relaxation steps taken, of all stages together.
        energies: after every step; of a stream, minus what its descents have released so far.
        tensions: at every step, stage after stage.
    """

    energy: float
    tension: float
    residual: float
    steps: int
    energies: tuple[float, ...]
    tensions: tuple[float, ...]


def window_physics(relaxation: Relaxation) -> list[Physics]:
    """One for every row; the relaxation must have kept its curves."""
    return _rows(
        energy=_last(relaxation.energy, relaxation.steps),
        tension=_last(relaxation.tension, relaxation.steps),
        residual=relaxation.residual,
        steps=relaxation.steps,
        energies=relaxation.energy.t(),
        tensions=relaxation.tension.t(),
    )


def stream_physics(settled: Sequence[Settling], rows: int) -> list[list[Physics]]:
    """For each of the first rows, one for every position; energies and paths must be kept."""
    if not settled:
        return [[] for _ in range(rows)]
    kept = [
        (rest.energy, rest.fall, rest.path)
        for rest in settled
        if rest.energy is not None and rest.fall is not None and rest.path is not None
    ]
    if len(kept) < len(settled):
        raise AssertionError("energies and paths were not kept")
    energy = sum(energies[-1] for energies, _, _ in kept)
    falls = torch.cat([falls for _, falls, _ in kept])
    tensions = torch.stack(
        [
            step_tension(before, after)
            for _, _, path in kept
            for before, after in itertools.pairwise(path)
        ]
    )
    assert isinstance(energy, Tensor)
    residual = torch.stack([rest.residual for rest in settled]).mean(dim=0)
    steps = torch.stack([rest.steps for rest in settled]).sum(dim=0)
    released = falls.cumsum(dim=0)
    return [
        _rows(
            energy=energy[row],
            tension=tensions[-1, row],
            residual=residual[row],
            steps=steps[row],
            energies=-released[:, row].t(),
            tensions=tensions[:, row].t(),
        )
        for row in range(rows)
    ]


def _last(curve: Tensor, like: Tensor) -> Tensor:
    """The end of a (T, B) curve; without steps there is none, and nothing is tense."""
    return curve[-1] if len(curve) else like.new_zeros(len(like))


def _rows(
    energy: Tensor,
    tension: Tensor,
    residual: Tensor,
    steps: Tensor,
    energies: Tensor,
    tensions: Tensor,
) -> list[Physics]:
    return [
        Physics(e, t, r, int(s), tuple(es), tuple(ts))
        for e, t, r, s, es, ts in zip(
            energy.tolist(),
            tension.tolist(),
            residual.tolist(),
            steps.tolist(),
            energies.tolist(),
            tensions.tolist(),
            strict=True,
        )
    ]
