"""Texts that go on together, one token a step, each as it would alone.

Matrix products of a few rows are computed otherwise than those of many, and the last bits of
their results differ. Batches are therefore filled up to multiples of eight rows: on a processor
the result of a row is then the same bits whatever company it is in, as long as rows begin at whole
vectors of 16 bytes, that is with a state of 4, 8, 12 … numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from boggers.dynamics.record import Relaxation
from boggers.infer.decoder import window_contexts
from boggers.infer.noise import breaking_noise
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel, StreamReading, StreamState
from boggers.model.window import WindowModel
from boggers.serve.bias import stream_energy, window_energy
from boggers.serve.dials import Dials
from boggers.serve.physics import Physics, stream_physics, window_physics
from boggers.shapes import Logits

BLOCK = 8
"""Rows of a batch are a multiple of this."""

Reads = Literal["all", "last", "none"]
"""Which positions of a stretch are read."""

Place = StreamState | tuple[int, ...]
"""Where a text stands: the past of one stream, or the last ids that a window has seen."""


@dataclass(frozen=True)
class Step:
    """What one token of every text came to.

    Attributes:
        logits: (B, V), of the token after it.
        steps: relaxation steps of all texts together.
        physics: of every text; None if it was not asked for.
    """

    logits: Logits
    steps: int
    physics: list[Physics] | None


@dataclass(frozen=True)
class Stretch:
    """What the reading of one text's next tokens came to.

    Attributes:
        place: where the text stands after them.
        logits: (T, V) after each of them; None if they were not asked for.
        physics: of each of them; None if it was not asked for.
    """

    place: Place
    logits: Tensor | None = None
    physics: list[Physics] | None = None


class Flock(Protocol):
    """Texts of one model and equal dials."""

    def add(self, place: Place) -> None:
        """Another text, behind those that are here."""

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these only, in this order."""

    def step(self, tokens: Sequence[int], *, measure: bool) -> Step:
        """Read one more token of every text."""

    def place(self, row: int) -> Place:
        """Where a text stands."""


class Driver(Protocol):
    """Reads texts with one model and given dials."""

    remembers: bool
    """Whether reading costs time, so that a read beginning is worth keeping."""

    def start(self) -> Place:
        """Where a text stands of which nothing has been read."""

    def read(self, ids: Sequence[int], place: Place, *, every: bool, measure: bool) -> Stretch:
        """Read on; with `every`, say what follows each token."""

    def flock(self) -> Flock:
        """Texts to go on with, none yet."""

    def bytes_of(self, place: Place) -> int:
        """Memory that a place takes."""


def driver_for(model: Model, dials: Dials) -> Driver:
    """A driver of the model's architecture."""
    if isinstance(model, WindowModel):
        return WindowDriver(model, dials)
    assert isinstance(model, StreamModel)  # `load_mind` refuses all others
    return StreamDriver(model, dials)


class StreamDriver:
    """Carries the recurrent state of every text."""

    remembers = True

    def __init__(self, model: StreamModel, dials: Dials) -> None:
        self.model = model
        self.dials = dials
        self.bias = None if dials.bias is None else stream_energy(model, dials.bias)

    def start(self) -> StreamState:
        return self.model.start(1, self.dials.steps)

    def read(self, ids: Sequence[int], place: Place, *, every: bool, measure: bool) -> Stretch:
        assert isinstance(place, StreamState)
        # Short stretches in a full block, as the steps of a flock are.
        rows = 1 if len(ids) >= BLOCK else BLOCK
        tokens = torch.tensor([list(ids)], device=self.model.embedding.device).expand(rows, -1)
        before = place if rows == 1 else place.select([0] * rows)
        reads: Reads = "all" if every else "none"
        reading = self.settle(tokens, before, measure=measure, reads=reads)
        return Stretch(
            # A copy: the state that is read off a stretch would hold on to all of the stretch.
            place=reading.state.select([0]),
            logits=reading.logits[0] if every else None,
            physics=stream_physics(reading.settled, 1)[0] if measure else None,
        )

    def rest(self, ids: Sequence[int], place: Place) -> tuple[Tensor, Place]:
        """Where these tokens settle, (T, D), and where the text stands after them."""
        assert isinstance(place, StreamState)
        tokens = torch.tensor([list(ids)], device=self.model.embedding.device)
        reading = self.settle(tokens, place, measure=False, reads="none")
        return reading.states[0], reading.state

    def settle(
        self, tokens: Tensor, state: StreamState, *, measure: bool, reads: Reads = "all"
    ) -> StreamReading:
        """The model's reading under the dials."""
        reading: StreamReading = self.model(
            tokens,
            state=state,
            steps=self.dials.steps,
            generator=breaking_noise(tokens.device),
            keep_energy=measure,
            keep_path=measure,
            tolerance=self.dials.tolerance,
            bias=self.bias,
            reads=reads,
        )
        return reading

    def flock(self) -> "StreamFlock":
        return StreamFlock(self)

    def bytes_of(self, place: Place) -> int:
        assert isinstance(place, StreamState)
        return place.bytes_per_row


class StreamFlock:
    """Streams whose states lie side by side in one batch."""

    def __init__(self, driver: StreamDriver) -> None:
        self.driver = driver
        self.state: StreamState | None = None
        self.rows = 0
        self.new: list[StreamState] = []

    def add(self, place: Place) -> None:
        assert isinstance(place, StreamState)
        self.new.append(place)

    def keep(self, rows: Sequence[int]) -> None:
        self._join()
        assert self.state is not None
        self._fill(self.state.select(rows), len(rows))

    def step(self, tokens: Sequence[int], *, measure: bool) -> Step:
        self._join()
        assert self.state is not None
        filled = [*tokens, *[0] * (self.state.rows - self.rows)]
        batch = torch.tensor(filled, device=self.driver.model.embedding.device)[:, None]
        reading = self.driver.settle(batch, self.state, measure=measure)
        self.state, settled = reading.state, reading.settled
        steps = sum(int(rest.steps[: self.rows].sum()) for rest in settled)
        physics = [at[0] for at in stream_physics(settled, self.rows) if at] if measure else None
        return Step(reading.logits[: self.rows, 0], steps, physics or None)

    def place(self, row: int) -> StreamState:
        self._join()
        assert self.state is not None
        return self.state.select([row])

    def _join(self) -> None:
        if not self.new:
            return
        old = [] if self.state is None else [self.state.select(range(self.rows))]
        self._fill(StreamState.join([*old, *self.new]), self.rows + len(self.new))
        self.new = []

    def _fill(self, state: StreamState, rows: int) -> None:
        missing = -rows % BLOCK
        if missing:
            beginnings = self.driver.model.start(missing, self.driver.dials.steps)
            state = StreamState.join([state, beginnings])
        self.state, self.rows = state, rows


class WindowDriver:
    """Settles the last W tokens of every text anew."""

    remembers = False

    def __init__(self, model: WindowModel, dials: Dials) -> None:
        self.model = model
        self.dials = dials
        self.bias = None if dials.bias is None else window_energy(model, dials.bias)

    def start(self) -> tuple[int, ...]:
        return ()

    def read(self, ids: Sequence[int], place: Place, *, every: bool, measure: bool) -> Stretch:
        assert isinstance(place, tuple)
        if not (every or measure):
            return Stretch(self.latest([*place, *ids]))
        seen = [*place, *ids]
        ends = range(len(place) + 1, len(seen) + 1)
        step = self.follow([self.latest(seen[:end]) for end in ends], measure=measure)
        return Stretch(self.latest(seen), step.logits, step.physics)

    def follow(self, rows: Sequence[Sequence[int]], *, measure: bool) -> Step:
        """What comes after each of these texts."""
        filled = [*rows, *[rows[0]] * (-len(rows) % BLOCK)]
        contexts = window_contexts(self.model, filled)
        relaxation = self.settle(contexts, measure=measure)
        physics = window_physics(relaxation)[: len(rows)] if measure else None
        steps = int(relaxation.steps[: len(rows)].sum())
        return Step(self.model.read(relaxation.state)[: len(rows)], steps, physics)

    def rest(self, ids: Sequence[int], place: Place) -> tuple[Tensor, Place]:
        """Where the last position of the window at each token settles, (T, D)."""
        assert isinstance(place, tuple)
        seen = [*place, *ids]
        ends = range(len(place) + 1, len(seen) + 1)
        contexts = window_contexts(self.model, [self.latest(seen[:end]) for end in ends])
        return self.settle(contexts, measure=False).state[:, -1], self.latest(seen)

    def settle(self, contexts: Tensor, *, measure: bool) -> Relaxation:
        """`WindowModel.settle` under the dials."""
        return self.model.settle(
            contexts,
            steps=self.dials.steps,
            generator=breaking_noise(contexts.device),
            keep_curves=measure,
            tolerance=self.dials.tolerance,
            bias=self.bias,
        )

    def latest(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The last W of them."""
        return tuple(ids[-self.model.config.window_size :])

    def flock(self) -> "WindowFlock":
        return WindowFlock(self)

    def bytes_of(self, place: Place) -> int:
        return 8 * len(place) if isinstance(place, tuple) else place.bytes_per_row


class WindowFlock:
    """Windows that settle in one batch."""

    def __init__(self, driver: WindowDriver) -> None:
        self.driver = driver
        self.places: list[tuple[int, ...]] = []

    def add(self, place: Place) -> None:
        assert isinstance(place, tuple)
        self.places.append(place)

    def keep(self, rows: Sequence[int]) -> None:
        self.places = [self.places[row] for row in rows]

    def step(self, tokens: Sequence[int], *, measure: bool) -> Step:
        self.places = [
            self.driver.latest([*place, token])
            for place, token in zip(self.places, tokens, strict=True)
        ]
        return self.driver.follow(self.places, measure=measure)

    def place(self, row: int) -> tuple[int, ...]:
        return self.places[row]
