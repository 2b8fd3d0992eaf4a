"""A slice of the energy landscape through the state where a place's settling ends."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from boggers.probe.places import Places, StreamPlaces
from boggers.shapes import State

GRID = 41
REACH = 1.5
"""How far a slice reaches, as a multiple of the longest of what it has to show."""


@dataclass(frozen=True)
class Plane:
    """Energies over a plane through the end of one settling.

    The first axis points along the last move, the second along as much of the way before as is
    not in the first; both in units of the end state's length, the end at (0, 0).

    Attributes:
        across, up: (G,), coordinates of the grid.
        energy: (G, G), rows by `up`, relative to the end state's.
        path: (S, 2), the states on the way, projected; the last is the end.
    """

    across: Float[Tensor, " G"]
    up: Float[Tensor, " G"]
    energy: Float[Tensor, "G G"]
    path: Float[Tensor, "S 2"]


def energy_plane(place: Places, *, grid: int = GRID) -> Plane:
    """The slice of one place's energy; of a stream that of its last stage, its field held still."""
    with torch.no_grad():
        way = place.settle(place.start)
        end = way[-1]
        before = way[:-1]
        if isinstance(place, StreamPlaces):
            # Only what the last stage did happens in its landscape.
            before = (way[-1 - place.steps], place.proposal)
        length = end.norm()
        moves = torch.stack([(state - end).flatten() / length for state in before])
        across, up = _axes(moves)
        path = torch.stack([moves @ across, moves @ up], dim=1)
        reach = float(REACH * path.abs().amax().clamp_min(1e-6))
        line = torch.linspace(-reach, reach, grid, device=end.device)
        rows = (line[None, :, None] * across + line[:, None, None] * up).flatten(0, 1)
        states = end + length * rows.view(-1, *end.shape[1:])
        heights = torch.cat([_energy(place, some) for some in states.split(256)])
        energy = heights.view(grid, grid) - place.energy(end)
        path = torch.cat([path, path.new_zeros(1, 2)])
        return Plane(line.cpu(), line.cpu(), energy.cpu(), path.cpu())


def _energy(place: Places, states: State) -> Tensor:
    return place.repeat(len(states)).energy(states)


def _axes(moves: Tensor) -> tuple[Tensor, Tensor]:
    """Two orthonormal directions: towards the last state before the end, and out of that line."""
    across = moves[-1] / moves[-1].norm().clamp_min(1e-12)
    others = moves - (moves @ across)[:, None] * across
    lengths = others.norm(dim=1)
    if float(lengths.max()) < 1e-6:
        # A straight way: any direction across it will do.
        noise = torch.randn(len(across), generator=torch.Generator().manual_seed(0)).to(across)
        others = (noise - (noise @ across) * across)[None]
        lengths = others.norm(dim=1)
    longest = int(lengths.argmax())
    return across, others[longest] / lengths[longest]
