"""How a model goes on with texts, token after token."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from boggers.infer.noise import breaking_noise
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel
from boggers.model.token import TokenModel
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


class RecurrentDecoder:
    """Reads each text once, then one token at a time; remembers a state of fixed size."""

    def __init__(self, model: StreamModel | TokenModel) -> None:
        self.model = model
        self.state: Any = None  # of the model's own type

    def follow(self, rows: Rows) -> Logits:
        device = self.model.embedding.device
        if self.state is None:
            # One at a time: the texts may differ in length, and none waits for a longer one.
            read = [self.model.prefill(torch.tensor([list(row)], device=device)) for row in rows]
            states: list[Any] = [state for _, state in read]
            self.state = type(states[0]).join(states)
            return torch.cat([logits for logits, _ in read])
        latest = torch.tensor([row[-1] for row in rows], device=device)
        logits, self.state = self.model.step(latest, self.state)
        return logits

    def keep(self, places: Sequence[int]) -> None:
        if self.state is not None:
            self.state = self.state.select(places)


def decoder_for(model: Model) -> Decoder:
    """A decoder of the model's architecture, at the beginning of its texts."""
    return WindowDecoder(model) if isinstance(model, WindowModel) else RecurrentDecoder(model)


def window_contexts(model: WindowModel, rows: Rows) -> torch.Tensor:
    """The last W ids of every row; shorter rows repeat their first id to the left."""
    window = model.config.window_size
    padded = [[row[0]] * (window - len(row)) + list(row[-window:]) for row in rows]
    return torch.tensor(padded, device=model.embedding.device)
