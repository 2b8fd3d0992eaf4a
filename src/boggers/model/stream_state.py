"""All that a stream remembers between two tokens: a value of fixed size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from boggers.errors import UserError
from boggers.field.causal import Past
from boggers.field.fast import Taught
from boggers.field.succession import Followers
from boggers.files import write_bytes
from boggers.model.text_memory import Heard


@dataclass(frozen=True)
class StreamState:
    """The past of B streams, as each stage of the model remembers it.

    A state is never changed: a step returns a new one. To fork a stream, keep the old one. Its
    size depends on the model alone, never on how many tokens have been read. What a model has no
    use for is empty: a dimension of its tensors is 0.

    Attributes:
        pasts: one per stage, in order.
        heard: what is remembered of the tokens themselves.
        taught: what they have taught the patterns of the last stage.
    """

    pasts: tuple[Past, ...]
    heard: Heard
    taught: Taught

    @property
    def rows(self) -> int:
        """B."""
        return len(self.pasts[0].field)

    @property
    def bytes_per_row(self) -> int:
        """Memory that one stream's past takes."""
        return sum(tensor[0].numel() * tensor.element_size() for tensor in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name; every tensor has the streams as its rows."""
        named = {
            "latest": self.heard.latest,
            "contexts": self.heard.followers.contexts,
            "followers": self.heard.followers.followers,
            "counts": self.heard.counts,
            "values": self.taught.values,
            "asked": self.taught.asked,
        }
        for number, past in enumerate(self.pasts):
            named |= {f"{number}.recent": past.recent, f"{number}.field": past.field}
        return named

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "StreamState":
        """The state of these `tensors()`.

        Raises:
            KeyError: one is missing.
        """
        stages = sum(name.endswith(".field") for name in tensors)
        return cls(
            pasts=tuple(Past(tensors[f"{n}.recent"], tensors[f"{n}.field"]) for n in range(stages)),
            heard=Heard(
                tensors["latest"],
                Followers(tensors["contexts"], tensors["followers"]),
                tensors["counts"],
            ),
            taught=Taught(tensors["values"], tensors["asked"]),
        )

    def select(self, rows: Sequence[int]) -> "StreamState":
        """The streams of these rows, in this order; a row that comes twice is forked."""
        picked = list(rows)
        return self.of({name: tensor[picked] for name, tensor in self.tensors().items()})

    @classmethod
    def join(cls, states: Sequence["StreamState"]) -> "StreamState":
        """The streams of several states, one behind another, as one batch."""
        parts = [state.tensors() for state in states]
        return cls.of({name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def to(self, device: torch.device | str) -> "StreamState":
        """The same streams on another device."""
        return self.of({name: tensor.to(device) for name, tensor in self.tensors().items()})

    def save(self, path: Path) -> None:
        """Write the streams to a file, whole or not at all."""
        write_bytes(path, save({name: t.contiguous() for name, t in self.tensors().items()}))

    @classmethod
    def load(cls, path: Path) -> "StreamState":
        """Read what `save` wrote.

        Raises:
            UserError: the file is missing, damaged or holds something else.
        """
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read as the state of a stream: {error}.") from error
        if "latest" in tensors:  # files from before there were fast values have none
            nothing = torch.zeros(len(tensors["latest"]), 0)
            tensors = {"values": nothing[..., None], "asked": nothing} | tensors
        try:
            state = cls.of(tensors)
        except KeyError:
            state = None
        if state is None or not state.pasts or state.tensors().keys() != tensors.keys():
            raise UserError(f"{path} must hold the state of a stream; it holds something else.")
        return state
