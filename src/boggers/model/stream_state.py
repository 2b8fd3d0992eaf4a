"""All that a stream remembers between two tokens: a value of fixed size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from boggers.errors import UserError
from boggers.field.causal import Past
from boggers.files import write_bytes


@dataclass(frozen=True)
class StreamState:
    """The past of B streams, as each stage of the model remembers it.

    A state is never changed: a step returns a new one. To fork a stream, keep the old one. Its
    size depends on the model alone, never on how many tokens have been read.

    Attributes:
        pasts: one per stage, in order.
        latest: (B, 1), the last token that was read, -1 at a beginning; (B, 0) if the model has no
            use for it.
    """

    pasts: tuple[Past, ...]
    latest: Int64[Tensor, "B n"]

    @property
    def rows(self) -> int:
        """B."""
        return len(self.pasts[0].field)

    @property
    def bytes_per_row(self) -> int:
        """Memory that one stream's past takes."""
        tensors = [tensor for past in self.pasts for tensor in (past.recent, past.field)]
        return sum(tensor[0].numel() * tensor.element_size() for tensor in [*tensors, self.latest])

    def select(self, rows: Sequence[int]) -> "StreamState":
        """The streams of these rows, in this order; a row that comes twice is forked."""
        picked = list(rows)
        pasts = (Past(p.recent[picked], p.field[picked]) for p in self.pasts)
        return StreamState(tuple(pasts), self.latest[picked])

    @classmethod
    def join(cls, states: Sequence["StreamState"]) -> "StreamState":
        """The streams of several states, one behind another, as one batch."""
        together = zip(*(state.pasts for state in states), strict=True)
        return cls(
            tuple(
                Past(torch.cat([p.recent for p in stage]), torch.cat([p.field for p in stage]))
                for stage in together
            ),
            torch.cat([state.latest for state in states]),
        )

    def to(self, device: torch.device | str) -> "StreamState":
        """The same streams on another device."""
        pasts = (Past(p.recent.to(device), p.field.to(device)) for p in self.pasts)
        return StreamState(tuple(pasts), self.latest.to(device))

    def save(self, path: Path) -> None:
        """Write the streams to a file, whole or not at all."""
        tensors: dict[str, Tensor] = {"latest": self.latest.contiguous()}
        for number, past in enumerate(self.pasts):
            tensors[f"{number}.recent"] = past.recent.contiguous()
            tensors[f"{number}.field"] = past.field.contiguous()
        write_bytes(path, save(tensors))

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
        stages = range(len(tensors) // 2)
        expected = {f"{number}.{part}" for number in stages for part in ("recent", "field")}
        if not stages or tensors.keys() != expected | {"latest"}:
            raise UserError(f"{path} must hold the state of a stream; it holds something else.")
        pasts = (Past(tensors[f"{n}.recent"], tensors[f"{n}.field"]) for n in stages)
        return cls(tuple(pasts), tensors["latest"])
