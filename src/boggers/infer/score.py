"""Plain next-token cross-entropy over a stretch of a corpus, every token once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from boggers.errors import UserError
from boggers.infer.noise import breaking_noise
from boggers.model.window import WindowModel
from boggers.shapes import Logits, Targets

BATCH = 512


@dataclass(frozen=True)
class Score:
    """What a model makes of a stretch of text.

    Attributes:
        nats: total of -ln p over the tokens, in float64 from the unshaped logits on.
        tokens: how many were predicted.
        tension, energy, residual, steps: means over the windows at the end of settling; 0 for a
            model that takes no steps.
    """

    nats: float
    tokens: int
    tension: float
    energy: float
    residual: float
    steps: float


def score(
    model: WindowModel,
    ids: NDArray[Any],
    start: int,
    stop: int,
    *,
    batch_size: int = BATCH,
    steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Predict ids[start:stop], each from the W tokens before it.

    Args:
        model: in evaluation mode.
        ids: the corpus, 1-D; the W tokens before `start` serve as the first context. Where the
            corpus has fewer, its first id is repeated to the left.
        batch_size: windows settled together; does not change the result beyond rounding.
        steps: relaxation steps instead of the configured number.
        progress: told tokens done and tokens in all.

    Raises:
        UserError: nothing to predict.
    """
    if stop <= start:
        raise UserError("There are no tokens to score. Give more text or hold out a larger part.")
    window = model.config.window_size
    device = model.embedding.device
    sums = dict.fromkeys(("nats", "tension", "energy", "residual", "steps"), 0.0)
    with torch.inference_mode():
        for first in range(start, stop, batch_size):
            last = min(first + batch_size, stop)
            contexts = torch.from_numpy(_contexts(ids, first, last, window)).to(device)
            targets = torch.from_numpy(ids[first:last].astype(np.int64)).to(device)
            reading = model(contexts, steps=steps, generator=breaking_noise(device))
            sums["nats"] += _nats(reading.logits, targets)
            settled = reading.relaxation
            if len(settled.tension):
                sums["tension"] += float(settled.tension[-1].double().sum())
                sums["energy"] += float(settled.energy[-1].double().sum())
            sums["residual"] += float(settled.residual.double().sum())
            sums["steps"] += float(settled.steps.double().sum())
            if progress is not None:
                progress(last - start, stop - start)
    count = stop - start
    means = {name: total / count for name, total in sums.items() if name != "nats"}
    return Score(nats=sums["nats"], tokens=count, **means)


def _nats(logits: Logits, targets: Targets) -> float:
    """Total -ln p of the targets, computed in float64."""
    # Metal has no float64.
    place = "cpu" if logits.device.type == "mps" else logits.device
    wide = logits.to(place).double()
    return float(F.cross_entropy(wide, targets.to(place), reduction="sum"))


def _contexts(ids: NDArray[Any], first: int, last: int, window: int) -> NDArray[np.int64]:
    """The W ids before each position, (last - first, W)."""
    places = np.arange(first, last)[:, None] + np.arange(-window, 0)
    contexts: NDArray[np.int64] = ids[places.clip(0)].astype(np.int64)
    return contexts
