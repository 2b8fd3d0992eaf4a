"""How a model goes on with texts, token after token."""

from collections.abc import Sequence
from typing import Protocol

import torch

from boggers.infer.noise import breaking_noise
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel, StreamState
from boggers.model.token import TokenModel
from boggers.model.token_state import TokenState
from boggers.model.window import WindowModel
from boggers.shapes import Logits

Rows = Sequence[Sequence[int]]


class Decoder(Protocol):
    """Says what follows several texts that grow by one token between two calls."""

    def follow(self, rows: Rows) -> Logits:
        """Logits (B, V) of the token after each row, which holds every id of its text so far."""

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the rows at these places only."""


class WindowDecoder:
    """Settles the last W tokens of each text anew for every token."""

    def __init__(self, model: WindowModel) -> None:
        self.model = model

    def follow(self, rows: Rows) -> Logits:
        contexts = window_contexts(self.model, rows)
        logits: Logits = self.model(contexts, generator=breaking_noise(contexts.device)).logits
        return logits

    def keep(self, places: Sequence[int]) -> None:
        """Nothing is remembered between two calls."""


class StreamDecoder:
    """Reads each text once, then one token at a time; remembers a state of fixed size."""

    def __init__(self, model: StreamModel) -> None:
        self.model = model
        self.state: StreamState | None = None

    def follow(self, rows: Rows) -> Logits:
        device = self.model.embedding.device
        if self.state is None:
            # One at a time: the texts may differ in length, and none waits for a longer one.
            read = [self.model.prefill(torch.tensor([list(row)], device=device)) for row in rows]
            self.state = StreamState.join([state for _, state in read])
            return torch.cat([logits for logits, _ in read])
        latest = torch.tensor([row[-1] for row in rows], device=device)
        logits, self.state = self.model.step(latest, self.state)
        return logits

    def keep(self, places: Sequence[int]) -> None:
        if self.state is not None:
            self.state = self.state.select(places)


class TokenDecoder:
    """Reads each text once, then one token at a time; remembers a fast and a slow state."""

    def __init__(self, model: TokenModel) -> None:
        self.model = model
        self.state: TokenState | None = None

    def follow(self, rows: Rows) -> Logits:
        device = self.model.embedding.device
        if self.state is None:
            # One at a time: the texts may differ in length, and none waits for a longer one.
            read = [self.model.prefill(torch.tensor([list(row)], device=device)) for row in rows]
            self.state = TokenState.join([state for _, state in read])
            return torch.cat([logits for logits, _ in read])
        latest = torch.tensor([row[-1] for row in rows], device=device)
        logits, self.state = self.model.step(latest, self.state)
        return logits

    def keep(self, places: Sequence[int]) -> None:
        if self.state is not None:
            self.state = self.state.select(places)


def decoder_for(model: Model) -> Decoder:
    """A decoder of the model's architecture, at the beginning of its texts."""
    if isinstance(model, WindowModel):
        return WindowDecoder(model)
    return TokenDecoder(model) if isinstance(model, TokenModel) else StreamDecoder(model)


def window_contexts(model: WindowModel, rows: Rows) -> torch.Tensor:
    """The last W ids of every row; shorter rows repeat their first id to the left."""
    window = model.config.window_size
    padded = [[row[0]] * (window - len(row)) + list(row[-window:]) for row in rows]
    return torch.tensor(padded, device=model.embedding.device)
