"""Attractors: where many starts come to rest, and whether they agree."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from boggers.probe.places import Places
from boggers.shapes import PerRow, State

STARTS = 32
NOISE = 1.0
"""Length of the noise that parts the starts, as a share of the state's own."""

NUDGE = 0.3
"""The same where only the agreement of nearby starts is asked for."""

SAME = 0.05
"""Two states whose directions lie nearer than this are one attractor."""

STILL = 1e-3
"""A state that another update moves by less than this share of its length is at rest."""


@dataclass(frozen=True)
class Basin:
    """One attractor of a place.

    Attributes:
        state: (P, D), where it lies: the first state that came to rest there.
        mass: share of the starts that ended in it.
        energy: of that state.
        tokens: the likeliest next tokens read from it, best first.
        probabilities: theirs.
        own: whether the model's own settling, given time, ends in it.
    """

    state: Float[Tensor, "P D"]
    mass: float
    energy: float
    tokens: list[int]
    probabilities: list[float]
    own: bool


def basins(
    place: Places,
    generator: torch.Generator,
    *,
    starts: int = STARTS,
    noise: float = NOISE,
    tokens: int = 5,
) -> list[Basin]:
    """The attractors of one place, heaviest first.

    The model's own settled state and states around the settling's end, disturbed by Gaussian
    noise, are relaxed until they rest (a stream: in the energy of its last stage, what it feels
    held still; a window: by its own update). Those whose directions coincide are one attractor.

    Args:
        place: exactly one.
        generator: of the noise, on the processor.
        starts: disturbed starts. noise: their distance, as a share of the state's length.
        tokens: how many tokens are read from each attractor.
    """
    with torch.no_grad():
        many = place.repeat(starts + 1)
        first = many.settled()
        ends = many.to_rest(disturbed(first, noise, generator, spare=1))
        labels = _labels(F.normalize(ends.flatten(1), dim=1))
        energies = many.energy(ends)
        chances = many.read(ends).softmax(dim=-1)
        found = []
        for label in sorted(set(labels)):
            members = [row for row, own in enumerate(labels) if own == label]
            best = chances[members[0]].topk(min(tokens, chances.shape[1]))
            basin = Basin(
                state=ends[members[0]],
                # The first start is the model's own and no sample of the neighbourhood.
                mass=sum(row > 0 for row in members) / starts,
                energy=float(energies[members[0]]),
                tokens=best.indices.tolist(),
                probabilities=best.values.tolist(),
                own=0 in members,
            )
            found.append(basin)
        return sorted(found, key=lambda basin: -basin.mass)


def agreement(
    places: Places, generator: torch.Generator, *, starts: int = 8, noise: float = NUDGE
) -> PerRow:
    """The share of disturbed starts that predict the same token as the undisturbed one, (N,).

    Each start is where the place's settling begins plus Gaussian noise; all take exactly the steps
    that the model takes.
    """
    with torch.no_grad():
        many = places.repeat(starts)
        own = places.read(places.settled()).argmax(dim=-1)
        ends = many.settle(disturbed(many.start, noise, generator))[-1]
        said = many.read(ends).argmax(dim=-1).view(-1, starts)
        return (said == own[:, None]).to(ends.dtype).mean(dim=1)


def disturbed(state: State, share: float, generator: torch.Generator, spare: int = 0) -> State:
    """States plus Gaussian noise of `share` of each row's length; the first `spare` rows stay."""
    noise = torch.randn(state.shape, generator=generator).to(state)
    length = state.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    moved = state + share * length[:, None, None] * noise
    return torch.cat([state[:spare], moved[spare:]])


def at_rest(places: Places, state: State) -> PerRow:
    """How far another relaxation would still move a state, as a share of its length, (N,)."""
    with torch.no_grad():
        away = (places.to_rest(state) - state).flatten(1).norm(dim=1)
        share: PerRow = away / state.flatten(1).norm(dim=1)
        return share


def _labels(directions: Tensor) -> list[int]:
    """For every unit vector the number of the first one that it coincides with."""
    apart = torch.cdist(directions, directions)
    labels: list[int] = []
    for row in range(len(directions)):
        near = [label for label in sorted(set(labels)) if apart[row, label] < SAME]
        labels.append(near[0] if near else row)
    return labels
