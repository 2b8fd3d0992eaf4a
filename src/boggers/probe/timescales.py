"""What a model would lose without a part of its past: each silenced by itself."""

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from boggers.dynamics.relax import relax
from boggers.errors import UserError
from boggers.infer.noise import breaking_noise
from boggers.infer.score import score, token_nats
from boggers.model.architectures import Model
from boggers.model.stage import Stage
from boggers.model.stream import StreamModel
from boggers.model.token import TokenModel
from boggers.model.window import WindowModel

EDGES = (3.0, 10.0, 30.0, 100.0, 300.0)
"""Where a stream's bands of time constants meet, in tokens."""

WORDS = {"succession": "what followed before", "recency": "what was said lately"}
"""Memories of the text's own words, see `model.text_memory`."""

LEARNED = "what patterns learned of it"
"""Fast values, see `field.fast`."""

WINDOWS = 512


@dataclass(frozen=True)
class Loss:
    """What silencing one band costs.

    Attributes:
        band: what was silenced: a range of time constants, a memory of the text's own words, or a
            distance in the window.
        channels: share of all channels (stream) or of all pairs of positions (window); None for a
            memory of words, which has no channels.
        bits_per_byte: how many more the text takes without it; below 0 it was in the way.
    """

    band: str
    channels: float | None
    bits_per_byte: float


def knock_out(model: Model, ids: NDArray[Any], start: int, stop: int, n_bytes: int) -> list[Loss]:
    """Bits lost on ids[start:stop] by every band of timescales, the fastest first.

    A stream's channels are banded by their time constants at rest, 1/softplus(α), over all its
    stages; a silenced channel is felt as zero, exactly, as what is felt is a sum over channels.
    Where a stream also remembers its text word for word, what followed before and what was said
    lately are silenced too, each by itself: their suggestions are not added to the logits; and so
    is what its patterns learned of the text, where they do. A
    window's positions are cut off from those at one distance, a pair at a time, in every coupling
    by distance or by wave; what the readout sees of the positions themselves stays.

    Args:
        model: in evaluation mode; unchanged afterwards.
        ids: a corpus, 1-D. n_bytes: UTF-8 bytes of the part that is measured.

    Raises:
        UserError: a window model without coupling, whose positions cannot be cut off.
    """
    if isinstance(model, StreamModel):
        return _of_stream(model, ids, start, stop, n_bytes)
    if isinstance(model, TokenModel):
        raise UserError("A token model has no couplings whose timescales could be silenced.")
    return _of_window(model, ids, start, stop, n_bytes)


def _of_stream(
    model: StreamModel, ids: NDArray[Any], start: int, stop: int, n_bytes: int
) -> list[Loss]:
    whole = score(model, ids, start, stop).nats
    stages = [stage for stage in model.stages if isinstance(stage, Stage)]
    spans = [(1 / F.softplus(stage.coupling.speed)).detach() for stage in stages]
    found = []
    for low, high in zip((0.0, *EDGES), (*EDGES, math.inf), strict=True):
        silent = [(span >= low) & (span < high) for span in spans]
        share = float(torch.cat(silent).float().mean())
        if share == 0.0:
            continue
        with _silenced(stages, silent):
            nats = score(model, ids, start, stop).nats
        band = f"{low:g}–{high:g} tokens" if math.isfinite(high) else f"over {low:g} tokens"
        band = f"under {high:g} tokens" if low == 0.0 else band
        found.append(Loss(band, share, (nats - whole) / math.log(2.0) / n_bytes))
    remembering = [(model.text_memory, name, band) for name, band in WORDS.items()]
    for owner, name, band in [*remembering, (model, "fast", LEARNED)]:
        if getattr(owner, name) is None:
            continue
        with _without(owner, name):
            nats = score(model, ids, start, stop).nats
        found.append(Loss(band, None, (nats - whole) / math.log(2.0) / n_bytes))
    return found


@contextmanager
def _without(owner: nn.Module, name: str) -> Iterator[None]:
    """Let one memory of the text suggest nothing."""
    kept = getattr(owner, name)
    try:
        setattr(owner, name, None)
        yield
    finally:
        setattr(owner, name, kept)


@contextmanager
def _silenced(stages: list[Stage], silent: list[Tensor]) -> Iterator[None]:
    """Let these channels of every coupling be felt as zero."""
    kept = [stage.coupling.out.detach().clone() for stage in stages]
    try:
        with torch.no_grad():
            for stage, mask in zip(stages, silent, strict=True):
                stage.coupling.out[:, mask] = 0.0
        yield
    finally:
        with torch.no_grad():
            for stage, out in zip(stages, kept, strict=True):
                stage.coupling.out.copy_(out)


def _of_window(
    model: WindowModel, ids: NDArray[Any], start: int, stop: int, n_bytes: int
) -> list[Loss]:
    if model.system().coupling is None:
        raise UserError(
            "This run's positions are not coupled, so no distance can be silenced. Train one with "
            "--coupling."
        )
    window = model.config.window_size
    whole = _nats_without(model, ids, start, stop, None)
    found = []
    for distance in range(1, window):
        nats = _nats_without(model, ids, start, stop, distance)
        share = (window - distance) / (window * (window - 1) / 2)
        bits = (nats - whole) / math.log(2.0) / n_bytes
        name = f"{distance} token{'' if distance == 1 else 's'} apart"
        found.append(Loss(name, share, bits))
    return found


@torch.no_grad()
def _nats_without(
    model: WindowModel, ids: NDArray[Any], start: int, stop: int, distance: int | None
) -> float:
    """Total -ln p of ids[start:stop] while positions at one distance do not feel each other."""
    window, device = model.config.window_size, model.embedding.device
    system = model.system()
    apart = torch.arange(window, device=device)
    apart = (apart[:, None] - apart[None, :]).abs()
    if distance is not None and system.coupling is not None:
        cut = torch.where(apart == distance, system.coupling, 0.0)
        coupling = system.coupling - cut
        if model.coupling is not None:
            # What a neighbour adds, the coupling by distance takes off the position itself.
            lost = torch.where(apart == distance, model.coupling.laplacian(), 0.0).sum(dim=-1)
            coupling = coupling + torch.diag_embed(lost)
        system = dataclasses.replace(system, coupling=coupling)
    total = 0.0
    for first in range(start, stop, WINDOWS):
        places = np.arange(first, min(first + WINDOWS, stop))
        before = (places[:, None] + np.arange(-window, 0)).clip(0)
        contexts = torch.from_numpy(ids[before].astype(np.int64)).to(device)
        targets = torch.from_numpy(ids[places].astype(np.int64)).to(device)
        begun = model.embed(contexts)
        heard = dataclasses.replace(system, drift=model.system(signal=begun).drift)
        state = relax(
            begun,
            model.remembering(heard, begun, contexts),
            steps=model.config.num_dynamics_steps,
            generator=breaking_noise(device),
            keep_curves=False,
        ).state
        total += float(token_nats(model.read(state), targets).sum())
    return total
