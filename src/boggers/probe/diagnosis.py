"""Is settling healthy? A verdict from where states end and how they still move."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from boggers.model.architectures import Model
from boggers.probe.places import Places, has_places, places_in, spread

Verdict = Literal["COLLAPSED", "OSCILLATING", "DRIFT", "HEALTHY"]

ALIKE = 0.95
"""Mean cosine between the settled states of different places from which they count as one."""

RESTLESS = 0.95
"""A next move at least this share of the last one has not become smaller."""

TURN = 0.5
"""Cosine between two moves from which they are one direction, or below its negative opposed."""

LAST_STILL = 1e-6
"""A last move shorter than this share of the state is rest, whatever comes next."""

PLACES = 64

MEANINGS: dict[Verdict, str] = {
    "COLLAPSED": "different texts end in nearly the same state",
    "OSCILLATING": "moves turn back on themselves without getting shorter",
    "DRIFT": "moves go on in one direction without getting shorter",
    "HEALTHY": "different texts end in different states, and moves get shorter",
}


@dataclass(frozen=True)
class Diagnosis:
    """A verdict over N places and what it rests on.

    With Δ the last move of a place's settling and Δ' the one that would come next:

        COLLAPSED     mean cosine between the end states of different places ≥ 0.95
        OSCILLATING   at most places ‖Δ'‖ ≥ 0.95 ‖Δ‖ and cos(Δ', Δ) ≤ -0.5
        DRIFT         at most places ‖Δ'‖ ≥ 0.95 ‖Δ‖ and cos(Δ', Δ) ≥ 0.5
        HEALTHY       otherwise; the first that holds is the verdict

    Attributes:
        verdict: one of the four.
        likeness: the mean cosine; 0 for a single place, which is never collapsed.
        ratio: median of ‖Δ'‖ / ‖Δ‖; 0 where the last move was rest.
        turn: mean of cos(Δ', Δ).
        oscillating, drifting: shares of the places.
        places: N.
    """

    verdict: Verdict
    likeness: float
    ratio: float
    turn: float
    oscillating: float
    drifting: float
    places: int

    @property
    def sentence(self) -> str:
        """The verdict and what it means."""
        return f"{self.verdict}: {MEANINGS[self.verdict]}"


def diagnose(model: Model, ids: NDArray[Any], start: int, stop: int) -> Diagnosis | None:
    """The diagnosis of a model on ids[start:stop]; None where nothing settles.

    A stream is looked at where its last stage ends, what it feels held still: the next move is
    what another descent would do. A window's next move is its next step.

    Args:
        model: in evaluation mode.
        ids: a corpus, 1-D.
        start, stop: where at most 64 places are taken, evenly spread over at most 4,096 tokens.
    """
    at = spread(start, min(stop, start + 4096), PLACES)
    if not has_places(model) or not at:
        return None
    return diagnose_places(places_in(model, ids, at))


def diagnose_places(places: Places) -> Diagnosis:
    """The diagnosis of these places."""
    with torch.no_grad():
        ends = places.settled().flatten(1)
        last, following = (move.flatten(1) for move in places.last_and_next())
        length = last.norm(dim=1)
        moved = length > LAST_STILL * ends.norm(dim=1)
        ratio = torch.where(moved, following.norm(dim=1) / length.clamp_min(1e-30), 0.0)
        turn = F.cosine_similarity(following, last, dim=1)
        restless = ratio >= RESTLESS
        return judge(
            likeness=_likeness(ends),
            ratio=ratio.median(),
            turn=turn.mean(),
            oscillating=(restless & (turn <= -TURN)).float().mean(),
            drifting=(restless & (turn >= TURN)).float().mean(),
            places=len(ends),
        )


def judge(
    *,
    likeness: Tensor | float,
    ratio: Tensor | float,
    turn: Tensor | float,
    oscillating: Tensor | float,
    drifting: Tensor | float,
    places: int,
) -> Diagnosis:
    """The first verdict that these numbers allow."""
    verdict: Verdict = "HEALTHY"
    if likeness >= ALIKE:
        verdict = "COLLAPSED"
    elif oscillating > 0.5:
        verdict = "OSCILLATING"
    elif drifting > 0.5:
        verdict = "DRIFT"
    return Diagnosis(
        verdict=verdict,
        likeness=float(likeness),
        ratio=float(ratio),
        turn=float(turn),
        oscillating=float(oscillating),
        drifting=float(drifting),
        places=places,
    )


def _likeness(states: Tensor) -> float:
    """Mean cosine between different rows, (Σ_ij u_i·u_j - N) / (N (N - 1))."""
    count = len(states)
    if count < 2:
        return 0.0
    total = F.normalize(states.double(), dim=1).sum(dim=0).square().sum()
    return float((total - count) / (count * (count - 1)))
