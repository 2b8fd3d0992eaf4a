"""Two texts side by side: how far apart their states end, and how they come there."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.probe.diagnosis import Diagnosis, diagnose_places, judge
from boggers.probe.places import Places, places_in


@dataclass(frozen=True)
class Side:
    """One of the two texts.

    Attributes:
        text: itself. tokens: how many it has.
        path: (S, P·D), its states from the start to the end.
        energy: where it ends.
        said: the likeliest next tokens and their probabilities.
    """

    text: str
    tokens: int
    path: Float[Tensor, "S C"]
    energy: float
    said: list[tuple[str, float]]


@dataclass(frozen=True)
class Pair:
    """Two texts and what is between them.

    Attributes:
        sides: the two.
        distance: Euclidean, between the states at the start and after every step, (S,).
        cosine: between them, (S,).
        divergence: Jensen–Shannon, between the two predictions, in bits, 0 to 1.
        diagnosis: of settling at the two places; with two places "collapsed" says that they end
            alike.
    """

    sides: tuple[Side, Side]
    distance: list[float]
    cosine: list[float]
    divergence: float
    diagnosis: Diagnosis


def compare(engine: Engine, first: str, second: str, *, tokens: int = 5) -> Pair:
    """Let two texts settle and set them side by side.

    A window model's states are its last W tokens; a stream's, the last position, through all its
    stages.

    Args:
        engine: the run.
        first, second: the texts, neither empty.
        tokens: likeliest next tokens to tell.

    Raises:
        UserError: a text is empty, or the run takes no relaxation steps.
    """
    places = [_place(engine, text) for text in (first, second)]
    with torch.no_grad():
        paths = [
            torch.stack([state.flatten() for state in place.settle(place.start)])
            for place in places
        ]
        chances = [place.read(place.settled())[0].double().softmax(-1) for place in places]
        sides = [
            Side(
                text=text,
                tokens=len(engine.tokenizer.encode(text)),
                path=path.cpu(),
                energy=float(place.energy(place.settled())[0]),
                said=_likeliest(engine, chance, tokens),
            )
            for text, place, path, chance in zip(
                (first, second), places, paths, chances, strict=True
            )
        ]
    return Pair(
        sides=(sides[0], sides[1]),
        distance=(paths[0] - paths[1]).norm(dim=1).tolist(),
        cosine=F.cosine_similarity(paths[0], paths[1], dim=1).tolist(),
        divergence=_divergence(chances[0], chances[1]),
        diagnosis=_diagnosis(places, paths),
    )


def _place(engine: Engine, text: str) -> Places:
    ids = engine.tokenizer.encode(text)
    if not ids:
        raise UserError("A text to compare must not be empty.")
    # The place behind the text; what stands there is not looked at.
    return places_in(engine.model, np.array([*ids, 0]), [len(ids)])


def _likeliest(engine: Engine, chance: Tensor, count: int) -> list[tuple[str, float]]:
    best = chance.topk(min(count, len(chance)))
    return [
        (engine.tokenizer.decode([token]), p)
        for token, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _divergence(first: Tensor, second: Tensor) -> float:
    middle = (first + second) / 2
    nats = sum(
        0.5 * float((p * (p / middle).clamp_min(1e-300).log()).nan_to_num(0.0).sum())
        for p in (first, second)
    )
    return max(0.0, nats / float(np.log(2.0)))


def _diagnosis(places: list[Places], paths: list[Tensor]) -> Diagnosis:
    """The two places' diagnoses as one, their likeness that of the two ends."""
    found = [diagnose_places(place) for place in places]
    return judge(
        likeness=float(F.cosine_similarity(paths[0][-1], paths[1][-1], dim=0)),
        ratio=max(each.ratio for each in found),
        turn=sum(each.turn for each in found) / 2,
        oscillating=sum(each.oscillating for each in found) / 2,
        drifting=sum(each.drifting for each in found) / 2,
        places=2,
    )
