"""What the pictures of a run's inside show, computed once for both kinds of picture."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.infer.score import predictions, token_nats
from boggers.probe.places import places_in, spread
from boggers.probe.plane import Plane, energy_plane
from boggers.probe.timescales import Loss, knock_out

DOTS, PATHS = 400, 12
WORDS = 320
REACH = 4096
KNOCK_OUT_TOKENS = 4096
GROUPS = 5
"""Next tokens that the map of states tells apart; the others are one group."""

OTHERS = "others"


@dataclass(frozen=True)
class Word:
    """A token of the held-out text: its text, and how the run fared with it."""

    text: str
    surprise: float
    """-ln p, in nats."""
    energy: float
    residual: float


@dataclass(frozen=True)
class Scene:
    """The inside of a run at its held-out text.

    Attributes:
        dots: (N, 2), settled states in the plane of their two main directions.
        groups: for every dot the token that followed, or "others".
        shares: of the states' squared spread that the two directions hold.
        paths: how some states came there, (S, 2) each, in the same plane.
        plane: a slice of the energy at the last place.
        words: the text, token by token.
        losses: bits lost per timescale; empty where there is no coupling to silence.
        stages: S - 1 is this many steps.
    """

    dots: Float[Tensor, "N 2"]
    groups: list[str]
    shares: tuple[float, float]
    paths: list[Float[Tensor, "S 2"]]
    plane: Plane
    words: list[Word]
    losses: list[Loss]


def scene(
    engine: Engine, ids: NDArray[Any], byte_lengths: NDArray[Any], start: int, stop: int
) -> Scene:
    """Look at ids[start:stop] through a run.

    Raises:
        UserError: the run takes no steps, or the text is empty.
    """
    at = spread(start, min(stop, start + REACH), DOTS)
    places = places_in(engine.model, ids, at)
    with torch.no_grad():
        way = torch.stack([_seen(state) for state in places.settle(places.start)])
    project, shares = _plane_of(way[-1])
    chosen = [round(row) for row in np.linspace(0, len(at) - 1, min(PATHS, len(at)))]
    last = min(stop, start + KNOCK_OUT_TOKENS)
    try:
        n_bytes = int(byte_lengths[start:last].sum(dtype=np.int64))
        losses = knock_out(engine.model, ids, start, last, max(1, n_bytes))
    except UserError:
        losses = []  # a window without couplings has no timescales
    return Scene(
        dots=project(way[-1]),
        groups=_groups(engine, ids, at),
        shares=shares,
        paths=[project(way[:, row]) for row in chosen],
        plane=energy_plane(places_in(engine.model, ids, at[-1:])),
        words=_words(engine, ids, start, min(stop, start + WORDS)),
        losses=losses,
    )


def _seen(state: Tensor) -> Tensor:
    """States (N, P, D) as they are read: whatever their length, side by side; (N, P·D)."""
    unit: Tensor = state / state.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return unit.flatten(1).double().cpu()


def _plane_of(states: Tensor) -> tuple[Any, tuple[float, float]]:
    """The map to the two main directions (principal components) of states, and their shares."""
    centre = states.mean(dim=0)
    _, lengths, directions = torch.linalg.svd(states - centre, full_matrices=False)
    axes = torch.zeros(2, states.shape[1], dtype=states.dtype)
    axes[: len(directions)] = directions[:2]
    squares = torch.zeros(2, dtype=states.dtype)
    squares[: len(lengths)] = lengths[:2].square()
    share = squares / lengths.square().sum().clamp_min(1e-30)

    def project(rows: Tensor) -> Tensor:
        placed: Tensor = (rows - centre) @ axes.t()
        return placed

    return project, (float(share[0]), float(share[1]))


def _groups(engine: Engine, ids: NDArray[Any], at: list[int]) -> list[str]:
    following = [int(ids[place]) for place in at]
    common = [token for token, _ in Counter(following).most_common(GROUPS)]
    names = {token: visible(engine.tokenizer.decode([token])) for token in common}
    return [names.get(token, OTHERS) for token in following]


def _words(engine: Engine, ids: NDArray[Any], start: int, stop: int) -> list[Word]:
    words: list[Word] = []
    for part in predictions(engine.model, ids, start, stop):
        for target, nats, energy, residual in zip(
            part.targets.tolist(),
            token_nats(part.logits, part.targets).tolist(),
            part.energy.tolist(),
            part.residual.tolist(),
            strict=True,
        ):
            words.append(Word(engine.tokenizer.decode([target]), nats, energy, residual))
    return words


def visible(text: str) -> str:
    """A token as it can be seen: blanks marked, the unprintable told by its number."""
    marked = text.replace("\n", "↵").replace(" ", "·")
    shown = "".join(c if c.isprintable() else f"‹{ord(c):x}›" for c in marked)
    return shown or "‹nothing›"


def settles(engine: Engine) -> bool:
    """Whether there is anything to look into."""
    return engine.model.config.num_dynamics_steps > 0
