"""The inside of a run in a few figures: attractors, stability, timescales, what it knows it knows.

What takes longer than the held-out numbers, and is left out of a quick report.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from boggers.errors import UserError
from boggers.evals.generation import Generation, sample
from boggers.evals.tokens import TokenTable
from boggers.evals.uncertainty import Uncertainty, assess
from boggers.infer.engine import Engine
from boggers.probe.basins import agreement, at_rest, basins
from boggers.probe.patterns import awakening, pull
from boggers.probe.places import Places, has_places, places_in, spread
from boggers.probe.stability import spectral_radius
from boggers.probe.timescales import Loss, knock_out

ATTRACTOR_PLACES, ATTRACTOR_STARTS = 8, 32
AGREEMENT_PLACES, AGREEMENT_REACH = 512, 8192
STABILITY_PLACES = 32
TRACED = 3
PATTERNS, CONTEXTS = 4, 2
KNOCK_OUT_TOKENS = 8192
SHOWN = 64
"""Characters of context that an example shows."""

Told = Callable[[str], None]


@dataclass(frozen=True)
class AttractorExample:
    """One place and its attractors: mass, energy, and the tokens read from each with their p."""

    context: str
    truth: str
    basins: list[dict[str, Any]]


@dataclass(frozen=True)
class Attractors:
    """Multi-start relaxation at some places of the held-out text.

    Attributes:
        places, starts: how many of each.
        count: mean number of distinct attractors a place.
        heaviest: mean mass of the heaviest.
        own: share of places whose own settling ends in the heaviest.
        away: median distance, as a share of the state's length, from where settling ends to rest.
        examples: the first places.
    """

    places: int
    starts: int
    count: float
    heaviest: float
    own: float
    away: float
    examples: list[AttractorExample]


@dataclass(frozen=True)
class Stability:
    """Largest |eigenvalue| of the update's Jacobian where settling ends, over some places.

    Attributes:
        places: how many. median, largest: of the radii. unstable: share above 1.
    """

    places: int
    median: float
    largest: float
    unstable: float


@dataclass(frozen=True)
class TracedPattern:
    """One pattern's word on a prediction.

    Attributes:
        pattern: its number. nats: what it adds to the token's logit above the mean.
        votes: tokens that it raises most. contexts: training text that wakes it most.
    """

    pattern: int
    nats: float
    votes: list[str]
    contexts: list[str]


@dataclass(frozen=True)
class Trace:
    """Which patterns pulled one prediction."""

    context: str
    predicted: str
    patterns: list[TracedPattern]


@dataclass(frozen=True)
class Inside:
    """All of it; what a run has nothing of is None or empty.

    Attributes:
        uncertainty: predictors that cost nothing, on all tokens.
        agreement: basin disagreement beside entropy, on some.
        silent: why a part is missing, a sentence each.
    """

    generation: Generation | None
    uncertainty: Uncertainty
    agreement: Uncertainty | None
    attractors: Attractors | None
    stability: Stability | None
    traces: list[Trace]
    timescales: list[Loss]
    silent: list[str]


@dataclass(frozen=True)
class HeldOutText:
    """The text a run is measured on, and the one that it learned from."""

    ids: NDArray[Any]
    byte_lengths: NDArray[Any]
    start: int
    stop: int
    corpus: NDArray[Any]
    trained: range


def look_inside(
    engine: Engine, text: HeldOutText, table: TokenTable, *, samples: int, told: Told
) -> Inside:
    """Every figure of a run's inside, on its held-out text.

    Args:
        engine: the run.
        text: where to look.
        table: what was said of every token of it.
        samples: continuations to write.
        told: hears what is being done.
    """
    silent: list[str] = []
    settles = has_places(engine.model)
    if engine.model.config.num_dynamics_steps == 0:
        silent.append("The run takes no relaxation steps, so it has no attractors and no patterns.")
    elif not settles:
        silent.append("A token model moves on with its text and has no energy to settle in.")
    told("writing samples")
    trained = text.corpus[text.trained.start : text.trained.stop]
    generation = sample(engine, trained, text.ids, text.start, text.stop, samples=samples)
    if generation is None:
        silent.append("The held-out text is too short to prompt samples from.")
    told("judging uncertainty")
    uncertainty = assess(table)
    near = None
    if settles:
        told("starting from many places")
        near = _agreement(engine, text, table)
    told("looking for attractors")
    attractors = _attractors(engine, text) if settles else None
    told("measuring stability")
    stability = _stability(engine, text) if settles else None
    told("tracing predictions to patterns")
    traces: list[Trace] = []
    losses: list[Loss] = []
    try:
        traces = _traces(engine, text) if settles else []
    except UserError as reason:
        silent.append(str(reason))
    told("silencing timescales")
    try:
        losses = _timescales(engine, text)
    except UserError as reason:
        silent.append(str(reason))
    return Inside(generation, uncertainty, near, attractors, stability, traces, losses, silent)


def _agreement(engine: Engine, text: HeldOutText, table: TokenTable) -> Uncertainty | None:
    stop = min(text.stop, text.start + AGREEMENT_REACH)
    at = spread(text.start, stop, AGREEMENT_PLACES)
    if len(at) < 20:
        return None
    places = places_in(engine.model, text.ids, at)
    agreed = agreement(places, torch.Generator().manual_seed(0)).double().cpu().numpy()
    rows = np.array(at) - text.start
    return assess(table, rows, {"disagreement": 1 - agreed})


def _attractors(engine: Engine, text: HeldOutText) -> Attractors | None:
    at = spread(text.start, min(text.stop, text.start + AGREEMENT_REACH), ATTRACTOR_PLACES)
    if not at:
        return None
    noise = torch.Generator().manual_seed(0)
    found = []
    for place in at:
        one = places_in(engine.model, text.ids, [place])
        away = float(at_rest(one, one.settled().detach())[0])
        found.append((place, basins(one, noise, starts=ATTRACTOR_STARTS), away))
    return Attractors(
        places=len(found),
        starts=ATTRACTOR_STARTS,
        count=float(np.mean([len(all_) for _, all_, _ in found])),
        heaviest=float(np.mean([all_[0].mass for _, all_, _ in found])),
        own=float(np.mean([all_[0].own for _, all_, _ in found])),
        away=float(np.median([away for _, _, away in found])),
        examples=[
            AttractorExample(
                context=shown(engine, text.ids, place),
                truth=engine.tokenizer.decode([int(text.ids[place])]),
                basins=[
                    {
                        "mass": basin.mass,
                        "energy": basin.energy,
                        "own": basin.own,
                        "tokens": [
                            [engine.tokenizer.decode([token]), p]
                            for token, p in zip(basin.tokens, basin.probabilities, strict=True)
                        ],
                    }
                    for basin in all_[:4]
                ],
            )
            for place, all_, _ in found[:TRACED]
        ],
    )


def _stability(engine: Engine, text: HeldOutText) -> Stability | None:
    at = spread(text.start, min(text.stop, text.start + AGREEMENT_REACH), STABILITY_PLACES)
    if not at:
        return None
    places: Places = places_in(engine.model, text.ids, at)
    radii = spectral_radius(places.update, places.settled()).double()
    return Stability(
        places=len(at),
        median=float(radii.median()),
        largest=float(radii.max()),
        unstable=float((radii > 1).double().mean()),
    )


def _traces(engine: Engine, text: HeldOutText) -> list[Trace]:
    at = spread(text.start, min(text.stop, text.start + AGREEMENT_REACH), TRACED)
    pulls = [pull(places_in(engine.model, text.ids, [place])) for place in at]
    said = [found.strongest(int(found.logits.argmax()), PATTERNS) for found in pulls]
    wanted = sorted({pattern for patterns in said for pattern, _ in patterns})
    wakers = awakening(
        engine.model,
        text.corpus,
        text.trained.start,
        text.trained.stop,
        wanted,
        count=CONTEXTS,
    )
    decode = engine.tokenizer.decode
    return [
        Trace(
            context=shown(engine, text.ids, place),
            predicted=decode([int(found.logits.argmax())]),
            patterns=[
                TracedPattern(
                    pattern=pattern,
                    nats=nats,
                    votes=[decode([token]) for token in found.votes(pattern, 5)],
                    contexts=[shown(engine, text.corpus, where) for where in wakers[pattern]],
                )
                for pattern, nats in patterns
            ],
        )
        for place, found, patterns in zip(at, pulls, said, strict=True)
    ]


def _timescales(engine: Engine, text: HeldOutText) -> list[Loss]:
    stop = min(text.stop, text.start + KNOCK_OUT_TOKENS)
    n_bytes = int(text.byte_lengths[text.start : stop].sum(dtype=np.int64))
    return knock_out(engine.model, text.ids, text.start, stop, max(1, n_bytes))


def shown(engine: Engine, ids: NDArray[Any], place: int) -> str:
    """The text before a place, as much as an example shows."""
    before = ids[max(0, place - SHOWN) : place].astype(int).tolist()
    return " ".join(engine.tokenizer.decode(before)[-SHOWN:].split())
