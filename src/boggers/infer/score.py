"""Plain next-token cross-entropy over a stretch of a corpus, every token once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from boggers.dynamics.settle import Settling
from boggers.errors import UserError
from boggers.field.tension import step_tension
from boggers.infer.lanes import follow_lanes
from boggers.infer.noise import breaking_noise
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel
from boggers.model.token import TokenModel
from boggers.model.window import WindowModel

BATCH = 512
"""Windows that settle together."""

STRETCH = 4096
"""Tokens of a stream that are read at once; also how much is read before the first that counts."""

SETTLING = ("tension", "energy", "residual", "steps")
"""What is told of how every token was settled on."""

BLOCK = 4096
"""Tokens whose predictions a token model gives in the order of the text."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Score:
    """What a model makes of a stretch of text.

    Attributes:
        nats: total of -ln p over the tokens, in float64 from the unshaped logits on.
        tokens: how many were predicted.
        tension, energy, residual, steps: means over windows, or over positions, at the end of
            settling. Of a stream the energy is the sum over its stages, residual and steps are
            means over them, and there is no tension between positions: 0. All are 0 for a model
            that takes no steps.
    """

    nats: float
    tokens: int
    tension: float
    energy: float
    residual: float
    steps: float


@dataclass(frozen=True)
class Predicted:
    """A few tokens in a row and what a model made of each; N of them, all tensors on its device.

    Attributes:
        stop: the place in the corpus behind the last of them.
        logits: (N, V), unshaped, given all tokens before each.
        targets: (N,), the tokens themselves.
        tension, energy, residual, steps: (N,), of the window or position that the token was read
            from, at the end of settling. Of a stream the energy is the sum over its stages, the
            others are means over them; its tension is that between the last two states of the
            position (see `field.tension.step_tension`), 0 unless it was asked for. All are 0 for a
            model that takes no steps.
    """

    stop: int
    logits: Float[Tensor, "N V"]
    targets: Int64[Tensor, " N"]
    tension: Float[Tensor, " N"]
    energy: Float[Tensor, " N"]
    residual: Float[Tensor, " N"]
    steps: Float[Tensor, " N"]


def score(
    model: Model,
    ids: NDArray[Any],
    start: int,
    stop: int,
    *,
    batch_size: int = BATCH,
    steps: int | None = None,
    progress: Progress | None = None,
) -> Score:
    """Predict ids[start:stop], each token from those before it.

    A window model sees the W tokens before; where the corpus has fewer, its first id is repeated
    to the left. A stream model reads on through the whole stretch, beginning 4,096 tokens before
    it, so every token is predicted from a past that has no edge; the first id of a corpus, where it
    is asked for, is predicted from itself. A token model reads 64 parts of the stretch side by
    side, beginning 256 tokens before each.

    Args:
        model: in evaluation mode.
        ids: the corpus, 1-D.
        batch_size: windows settled together; does not change the result beyond rounding.
        steps: relaxation steps instead of the configured number.
        progress: told tokens done and tokens in all.

    Raises:
        UserError: nothing to predict.
    """
    sums = dict.fromkeys(("nats", *SETTLING), 0.0)
    done = start
    parts: Iterator[Predicted]
    if isinstance(model, TokenModel):
        _require_some(start, stop)
        parts = (part for _, part in _by_lanes(model, ids, start, stop))
    else:
        parts = predictions(model, ids, start, stop, batch_size=batch_size, steps=steps)
    for part in parts:
        sums["nats"] += float(token_nats(part.logits, part.targets).sum())
        for name in SETTLING:
            sums[name] += float(getattr(part, name).sum())
        done += len(part.targets)
        if progress is not None:
            progress(done - start, stop - start)
    count = stop - start
    means = {name: total / count for name, total in sums.items() if name != "nats"}
    return Score(nats=sums["nats"], tokens=count, **means)


@torch.inference_mode()
def predictions(
    model: Model,
    ids: NDArray[Any],
    start: int,
    stop: int,
    *,
    batch_size: int = BATCH,
    steps: int | None = None,
    tension: bool = False,
) -> Iterator[Predicted]:
    """Predict ids[start:stop] as `score` does, and yield what was said of every token.

    Args:
        tension: measure the tension of a stream, which keeps the states of every step.

    Raises:
        UserError: nothing to predict.
    """
    _require_some(start, stop)
    if isinstance(model, StreamModel):
        yield from _by_stretches(model, ids, start, stop, steps, tension)
    elif isinstance(model, TokenModel):
        yield from _by_blocks(model, ids, start, stop)
    else:
        yield from _by_windows(model, ids, start, stop, batch_size, steps)


def _require_some(start: int, stop: int) -> None:
    if stop <= start:
        raise UserError("There are no tokens to score. Give more text or hold out a larger part.")


def token_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """-ln p of every target, in float64 from the logits (N, V) on."""
    # Metal has no float64.
    place = "cpu" if logits.device.type == "mps" else logits.device
    wide = logits.to(place).double()
    return F.cross_entropy(wide, targets.to(place), reduction="none")


def _by_windows(
    model: WindowModel, ids: NDArray[Any], start: int, stop: int, size: int, steps: int | None
) -> Iterator[Predicted]:
    """One batch of windows after another."""
    window, device = model.config.window_size, model.embedding.device
    for first in range(start, stop, size):
        last = min(first + size, stop)
        contexts = torch.from_numpy(_contexts(ids, first, last, window)).to(device)
        targets = torch.from_numpy(ids[first:last].astype(np.int64)).to(device)
        reading = model(contexts, steps=steps, generator=breaking_noise(device))
        settled = reading.relaxation
        nothing = torch.zeros_like(settled.residual)
        moved = len(settled.tension) > 0
        yield Predicted(
            stop=last,
            logits=reading.logits,
            targets=targets,
            tension=settled.tension[-1] if moved else nothing,
            energy=settled.energy[-1] if moved else nothing,
            residual=settled.residual,
            steps=settled.steps.to(nothing.dtype),
        )


def _by_stretches(
    model: StreamModel,
    ids: NDArray[Any],
    start: int,
    stop: int,
    steps: int | None,
    tension: bool,
) -> Iterator[Predicted]:
    """One stretch of text after another, each read with the state that the last one left."""
    device = model.embedding.device
    # Only the first id of a corpus has nothing before it and is read twice, to predict itself.
    begin = max(min(1, start), start - STRETCH)
    state = model.start(1, steps)
    for first in range(begin, stop, STRETCH):
        last = min(first + STRETCH, stop)
        places = np.arange(first, last)
        tokens = torch.from_numpy(ids[(places - 1).clip(0)].astype(np.int64)).to(device)
        targets = torch.from_numpy(ids[places].astype(np.int64)).to(device)
        reading = model(
            tokens[None],
            state=state,
            steps=steps,
            generator=breaking_noise(device),
            keep_energy=True,
            keep_path=tension,
        )
        state = reading.state
        counted = slice(max(start - first, 0), None)
        if last <= start:
            continue
        settled = _over_stages(reading.settled, reading.logits[..., 0])
        yield Predicted(
            stop=last,
            logits=reading.logits[0, counted],
            targets=targets[counted],
            **{name: values[0, counted] for name, values in settled.items()},
        )


@torch.inference_mode()
def _by_lanes(
    model: TokenModel, ids: NDArray[Any], start: int, stop: int
) -> Iterator[tuple[NDArray[np.int64], Predicted]]:
    """A few tokens of every lane at a time, and their places: those of a lane, then the next's."""
    for places, found in follow_lanes(model, ids, start, stop):
        yield places, Predicted(stop=int(places.max()) + 1, **found)


def _by_blocks(model: TokenModel, ids: NDArray[Any], start: int, stop: int) -> Iterator[Predicted]:
    """One block of text after another, its tokens put in order again."""
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        places, parts = zip(*_by_lanes(model, ids, first, last), strict=True)
        order = torch.from_numpy(np.concatenate(places).argsort())
        yield Predicted(
            stop=last,
            **{
                name: torch.cat([getattr(part, name) for part in parts])[order]
                for name in ("logits", "targets", *SETTLING)
            },
        )


def _over_stages(settled: Sequence[Settling], like: Tensor) -> dict[str, Tensor]:
    """Tension, energy, residual and steps of every position, (B, T)."""
    values = {name: torch.zeros_like(like) for name in SETTLING}
    for rest in settled:
        assert rest.energy is not None
        values["energy"] += rest.energy[-1]
        values["residual"] += rest.residual / len(settled)
        values["steps"] += rest.steps / len(settled)
        if rest.path is not None:
            values["tension"] += step_tension(rest.path[-2], rest.path[-1]) / len(settled)
    return values


def _contexts(ids: NDArray[Any], first: int, last: int, window: int) -> NDArray[np.int64]:
    """The W ids before each position, (last - first, W)."""
    places = np.arange(first, last)[:, None] + np.arange(-window, 0)
    contexts: NDArray[np.int64] = ids[places.clip(0)].astype(np.int64)
    return contexts
