"""Plain next-token cross-entropy over a stretch of a corpus, every token once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from boggers.errors import UserError
from boggers.infer.noise import breaking_noise
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel
from boggers.model.token import TokenModel
from boggers.model.window import WindowModel

BATCH = 512
"""Windows that settle together."""

STRETCH = 4096
"""Tokens of a stream that are read at once; also how much is read before the first that counts."""

LANES = 64
"""Parts of a stretch that a token model reads side by side."""

WARM_UP = 256
"""Tokens that it reads before each part, a dozen time constants of its slow state."""

CHUNK = 32
"""Tokens of every lane that are read in one go."""

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
    it, so every token is predicted from a past that has no edge; the first id of a corpus is
    predicted from itself. A token model reads 64 parts of the stretch side by side, beginning 256
    tokens before each.

    Args:
        model: in evaluation mode.
        ids: the corpus, 1-D.
        batch_size: windows settled together; does not change the result beyond rounding.
        steps: relaxation steps instead of the configured number.
        progress: told tokens done and tokens in all.

    Raises:
        UserError: nothing to predict.
    """
    if stop <= start:
        raise UserError("There are no tokens to score. Give more text or hold out a larger part.")
    sums = dict.fromkeys(("nats", "tension", "energy", "residual", "steps"), 0.0)
    if isinstance(model, StreamModel):
        parts = _by_stretches(model, ids, start, stop, steps)
    elif isinstance(model, TokenModel):
        parts = _by_lanes(model, ids, start, stop)
    else:
        parts = _by_windows(model, ids, start, stop, batch_size, steps)
    with torch.inference_mode():
        for done, totals in parts:
            for name, total in totals.items():
                sums[name] += float(total)
            if progress is not None:
                progress(done - start, stop - start)
    count = stop - start
    means = {name: total / count for name, total in sums.items() if name != "nats"}
    return Score(nats=sums["nats"], tokens=count, **means)


def _by_windows(
    model: WindowModel, ids: NDArray[Any], start: int, stop: int, size: int, steps: int | None
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Sums over one batch of windows after another, and where each ends."""
    window, device = model.config.window_size, model.embedding.device
    for first in range(start, stop, size):
        last = min(first + size, stop)
        contexts = torch.from_numpy(_contexts(ids, first, last, window)).to(device)
        targets = torch.from_numpy(ids[first:last].astype(np.int64)).to(device)
        reading = model(contexts, steps=steps, generator=breaking_noise(device))
        settled = reading.relaxation
        totals = {
            "nats": _nats(reading.logits, targets),
            "residual": settled.residual.sum(),
            "steps": settled.steps.sum(),
        }
        if len(settled.tension):
            totals["tension"] = settled.tension[-1].sum()
            totals["energy"] = settled.energy[-1].sum()
        yield last, totals


def _by_stretches(
    model: StreamModel, ids: NDArray[Any], start: int, stop: int, steps: int | None
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Sums over one stretch of text after another, each read with the state the last one left."""
    device = model.embedding.device
    begin = max(0, start - STRETCH)
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
        )
        state = reading.state
        counted = slice(max(start - first, 0), None)
        if first + len(places) <= start:
            continue
        totals = {"nats": _nats(reading.logits[0, counted], targets[counted])}
        stages = len(reading.settled)
        for rest in reading.settled:
            assert rest.energy is not None
            for name, values in (
                ("energy", rest.energy[-1]),
                ("residual", rest.residual / stages),
                ("steps", rest.steps / stages),
            ):
                totals[name] = totals.get(name, 0.0) + values[0, counted].sum()
        yield last, totals


def _by_lanes(
    model: TokenModel, ids: NDArray[Any], start: int, stop: int
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Sums over the lanes of a stretch, a few tokens of each at a time, and how far that is."""
    device = model.embedding.device
    size = -(-(stop - start) // LANES)
    firsts = np.arange(start, stop, size)
    state = model.start(len(firsts))
    for ahead in range(-WARM_UP, size, CHUNK):
        offsets = np.arange(ahead, min(ahead + CHUNK, size))
        places = firsts[:, None] + offsets
        counted = (offsets >= 0) & (places < np.minimum(firsts + size, stop)[:, None])
        before = ids[(places - 1).clip(0, len(ids) - 1)].astype(np.int64)
        tokens = torch.from_numpy(before).to(device)
        reading = model(tokens, state=state, generator=breaking_noise(device))
        state = reading.state
        if ahead + CHUNK <= 0:
            continue
        mask = torch.from_numpy(counted).to(device)
        targets = torch.from_numpy(ids[places.clip(0, len(ids) - 1)].astype(np.int64)).to(device)
        totals = {"nats": _nats(reading.logits[mask], targets[mask])}
        for name in ("tension", "residual", "steps"):
            totals[name] = reading.settled(name)[mask].sum()
        totals["energy"] = reading.fast.square().sum(dim=-1)[mask].sum()
        yield min(start + int(counted.sum()) + max(0, ahead) * len(firsts), stop), totals


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Total -ln p of the targets, computed in float64."""
    # Metal has no float64.
    place = "cpu" if logits.device.type == "mps" else logits.device
    wide = logits.to(place).double()
    return F.cross_entropy(wide, targets.to(place), reduction="sum")


def _contexts(ids: NDArray[Any], first: int, last: int, window: int) -> NDArray[np.int64]:
    """The W ids before each position, (last - first, W)."""
    places = np.arange(first, last)[:, None] + np.arange(-window, 0)
    contexts: NDArray[np.int64] = ids[places.clip(0)].astype(np.int64)
    return contexts
