"""Places of a text, taken out of it so that each can settle again from wherever one likes."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from boggers.dynamics.relax import System, relax
from boggers.dynamics.settle import Slope, settle
from boggers.errors import UserError
from boggers.field.bonus import HoldWell
from boggers.field.causal import Past
from boggers.field.unit import unit_rms
from boggers.infer.noise import breaking_noise
from boggers.infer.score import STRETCH
from boggers.model.architectures import Model
from boggers.model.basins import Rests
from boggers.model.stage import Stage
from boggers.model.stream import StreamModel, StreamState
from boggers.model.token import TokenModel
from boggers.model.window import WindowModel
from boggers.shapes import Logits, PerRow, State, Tokens

PATIENCE = 200
"""Steps in which a state may come to rest."""

SHRINK, GROW = 0.5, 1.1
"""How a row's descent step changes where its energy rose, and where it fell."""


class Places(ABC):
    """N places, each before the token that it predicts; a state has P positions of width D.

    A window's state is the whole window, P = W. A stream's is the one position, P = 1, and what
    it feels of its past is that of the text, whatever becomes of the position itself.
    """

    start: State
    """(N, P, D), where settling begins."""

    @abstractmethod
    def settle(self, start: State) -> tuple[State, ...]:
        """The states at the start and after every step that the model takes from it."""

    @abstractmethod
    def update(self, state: State) -> State:
        """One more step of the kind that the model took last, breaks and halvings left out."""

    @abstractmethod
    def last_and_next(self) -> tuple[State, State]:
        """The last move of settling, and the move that would have come next, what is felt of the
        past held still."""

    @abstractmethod
    def to_rest(self, state: State) -> State:
        """Where a state comes to rest if it is given time, at most 200 steps."""

    @abstractmethod
    def energy(self, state: State) -> PerRow:
        """The energy that a state ends in; of a stream that of its last stage."""

    @abstractmethod
    def read(self, state: State) -> Logits:
        """Logits of the token after every place, with what its text suggests besides the state."""

    @abstractmethod
    def repeat(self, times: int) -> "Places":
        """Every place `times` times: the first place first."""

    def settled(self) -> State:
        """Where the model's own settling ends."""
        return self.settle(self.start)[-1]


def places_in(model: Model, ids: NDArray[Any], at: Sequence[int]) -> Places:
    """The places before ids[t], for every t of `at`.

    Args:
        model: in evaluation mode.
        ids: a corpus, 1-D.
        at: ascending, each at least 1.

    Raises:
        UserError: no place was named or one lies at the very beginning; or the model takes no
            steps, so that nothing settles, or settles otherwise than by an energy of its own.
    """
    if not len(at) or min(at) < 1:
        raise UserError("A place needs at least one token before it. Give a longer text.")
    if model.config.num_dynamics_steps == 0:
        raise UserError("This model takes no relaxation steps, so nothing in it settles.")
    if isinstance(model, TokenModel):
        raise UserError(
            "A token model's states move on with the text and have no energy of their own, so they "
            "cannot be settled again from elsewhere. Look at a window or a stream."
        )
    with torch.no_grad():
        if isinstance(model, WindowModel):
            window = model.config.window_size
            before = (np.asarray(at)[:, None] + np.arange(-window, 0)).clip(0)
            contexts = torch.from_numpy(ids[before].astype(np.int64)).to(model.embedding.device)
            return WindowPlaces(model, contexts)
        return _stream_places(model, ids, at)


def has_places(model: Model) -> bool:
    """Whether there is anything in a model that settles and can be settled again."""
    return model.config.num_dynamics_steps > 0 and not isinstance(model, TokenModel)


def spread(start: int, stop: int, count: int) -> list[int]:
    """At most `count` places between start and stop, evenly spread, none before 1."""
    first = max(1, start)
    wanted = min(count, max(0, stop - first))
    return [int(place) for place in np.linspace(first, stop - 1, wanted).round()] if wanted else []


class WindowPlaces(Places):
    """Windows.

    Args:
        model: in evaluation mode.
        contexts: (N, W) ids.
    """

    def __init__(self, model: WindowModel, contexts: Tokens) -> None:
        self.model = model
        self.contexts = contexts
        self.start = model.embed(contexts).detach()
        self.system = model.remembering(model.system(signal=self.start), self.start, contexts)
        self.smooth = dataclasses.replace(self.system, breaks=None, rest=None)

    def settle(self, start: State) -> tuple[State, ...]:
        steps = self.model.config.num_dynamics_steps
        path = self._relax(start, self.system, steps)
        return (start, *path)

    def update(self, state: State) -> State:
        return self._relax(state, self.smooth, 1)[-1]

    def last_and_next(self) -> tuple[State, State]:
        *_, before, state = self.settle(self.start)
        return state - before, self.update(state) - state

    def to_rest(self, state: State) -> State:
        return relax(state, self.smooth, steps=PATIENCE, keep_curves=False).state

    def energy(self, state: State) -> PerRow:
        return self.system.energy(state)

    def read(self, state: State) -> Logits:
        logits: Logits = self.model.read(state)
        return logits

    def repeat(self, times: int) -> "WindowPlaces":
        return WindowPlaces(self.model, self.contexts.repeat_interleave(times, dim=0))

    def _relax(self, state: State, system: System, steps: int) -> tuple[State, ...]:
        noise = breaking_noise(state.device)
        path = relax(
            state, system, steps=steps, generator=noise, keep_path=True, keep_curves=False
        ).path
        assert path is not None
        return path


@dataclass(frozen=True)
class _Carried:
    """What a position of one stage feels, its past held at what it was in the text."""

    stage: Stage
    pasts: tuple[Past, ...]
    push: Tensor | None

    def __call__(self, state: State, step: int) -> State:
        felt: State
        felt, _ = self.stage.coupling(state, self.pasts[step])
        return felt if self.push is None else felt + self.push


class StreamPlaces(Places):
    """Positions of a stream.

    Args:
        model: in evaluation mode.
        tokens: (N,) the token at each position.
        past: what each has of its text, N rows.
    """

    def __init__(self, model: StreamModel, tokens: Tensor, past: StreamState) -> None:
        self.model = model
        self.tokens = tokens
        self.past = past
        self.steps = model.config.num_dynamics_steps
        noise = breaking_noise(tokens.device)
        reading = model(tokens[:, None], state=past, generator=noise, keep_path=True, reads="none")
        path = reading.settled[0].path
        assert path is not None
        self.start = path[0].detach()
        self.proposal = reading.settled[-1].proposal.detach()
        held = model.held(self.start, tokens[:, None])
        told = unit_rms(F.embedding(tokens[:, None], model.embedding)).detach()
        self.slopes: list[Slope] = model.slopes(
            held if isinstance(held, HoldWell) else None, model.learning(told, past, self.steps)
        )
        self.last = self.slopes[-1].at(self.steps - 1)
        push = held if isinstance(held, Tensor) else None
        stages = [stage for stage in model.stages if isinstance(stage, Stage)]
        each = stages[-1].pasts(self.steps)
        self.felt = [
            _Carried(stage, past.pasts[number * each : (number + 1) * each], push)
            for number, stage in enumerate(stages)
        ]

    def settle(self, start: State) -> tuple[State, ...]:
        path = [start]
        noise = breaking_noise(start.device)
        for slope, felt in zip(self.slopes, self.felt, strict=True):
            rest = settle(
                path[-1],
                slope,
                felt,
                steps=self.steps,
                generator=noise,
                keep_energy=False,
                keep_path=True,
            )
            assert rest.path is not None
            path += rest.path[1:]
        return tuple(path)

    def update(self, state: State) -> State:
        slope, last = self.last, self.steps - 1
        if last >= slope.metric.learned:
            return state + self._downhill(state)
        proposal: State = state + self.felt[-1](state, last)
        moved: State = proposal + slope.metric(slope.force(proposal, proposal), last)
        return moved

    def last_and_next(self) -> tuple[State, State]:
        state = self.settled()
        return state - self.proposal, self._downhill(state)

    def to_rest(self, state: State) -> State:
        slope = self.last
        height = slope.energy(state, self.proposal)
        step = torch.ones_like(height)
        for _ in range(PATIENCE):
            force = slope.force(state, self.proposal)
            tried = state + step[..., None] * force
            reached = slope.energy(tried, self.proposal)
            falls = reached <= height
            state = torch.where(falls[..., None], tried, state)
            height = torch.where(falls, reached, height)
            step = torch.where(falls, step * GROW, step * SHRINK)
        return state

    def energy(self, state: State) -> PerRow:
        return self.last.energy(state, self.proposal)[:, 0]

    def read(self, state: State) -> Logits:
        logits, _ = self.model.read_text(self.rests(state), self.tokens[:, None], self.past)
        return logits[:, 0]

    def rests(self, state: State) -> Rests:
        """All places where positions may rest that have settled so in the last stage."""
        return self.model.rests(state, self.last, self.proposal)

    def repeat(self, times: int) -> "StreamPlaces":
        rows = [row for row in range(len(self.tokens)) for _ in range(times)]
        return StreamPlaces(self.model, self.tokens[rows], self.past.select(rows))

    def _downhill(self, state: State) -> State:
        slope = self.last
        move: State = slope.metric(slope.force(state, self.proposal), self.steps - 1)
        return move


def _stream_places(model: StreamModel, ids: NDArray[Any], at: Sequence[int]) -> StreamPlaces:
    """Reads the text up to each place and keeps the past of its last token."""
    device = model.embedding.device
    state = model.start(1)
    done = max(1, at[0] - STRETCH)
    pasts: list[StreamState] = []
    for place in at:
        # What predicts ids[t] is ids[t - 1]: it is the position itself and not past yet.
        for first in range(done, place, STRETCH):
            read = ids[first - 1 : min(first + STRETCH, place) - 1]
            tokens = torch.from_numpy(read.astype(np.int64)).to(device)
            _, state = model.prefill(tokens[None], state)
        done = place
        pasts.append(state)
    latest = torch.from_numpy(ids[np.asarray(at) - 1].astype(np.int64)).to(device)
    return StreamPlaces(model, latest, StreamState.join(pasts))
