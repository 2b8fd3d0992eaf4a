"""The state of a text as a value: kept under a name, forked, written to bytes and read back."""

import json
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from boggers.errors import UserError
from boggers.model.stream import StreamModel, StreamState
from boggers.serve.flock import Place
from boggers.serve.mind import Mind

FORMAT = "boggers-state-1"
TAIL = 64
"""Latest ids that a state remembers besides: for decoding and for penalties."""


@dataclass(frozen=True)
class Saved:
    """Where a text stands, to be gone on from.

    Attributes:
        place: all that was read but the last token.
        tail: the latest ids; the last one is still to be read.
        tokens: how many the text has in all.
        steps: relaxation steps that the past was made with.
        fingerprint: of the checkpoint that it belongs to.
        id, created: its name, and when it was kept, seconds since 1970.
    """

    place: Place
    tail: tuple[int, ...]
    tokens: int
    steps: int
    fingerprint: str
    id: str = field(default_factory=lambda: f"state-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        own = self.place.bytes_per_row if isinstance(self.place, StreamState) else 0
        return own + 8 * len(self.tail)

    def fork(self) -> "Saved":
        """The same under another name; nothing is copied, a state never changes."""
        fresh = Saved(self.place, self.tail, self.tokens, self.steps, self.fingerprint)
        return replace(self, id=fresh.id, created=fresh.created)

    def describe(self) -> dict[str, Any]:
        """What is worth knowing of it, as a JSON object."""
        return {
            "id": self.id,
            "object": "state",
            "created": self.created,
            "tokens": self.tokens,
            "bytes": self.nbytes,
            "relax_steps": self.steps,
            "fingerprint": self.fingerprint,
        }

    def to_bytes(self) -> bytes:
        """As a safetensors file, which holds numbers only."""
        tensors: dict[str, Tensor] = {"tail": torch.tensor(self.tail, dtype=torch.int64)}
        if isinstance(self.place, StreamState):
            tensors |= {n: t.cpu().contiguous() for n, t in self.place.tensors().items()}
        about = {"format": FORMAT, "tokens": str(self.tokens), "steps": str(self.steps)}
        return save(tensors, {**about, "fingerprint": self.fingerprint})


def saved_from_bytes(data: bytes, mind: Mind) -> Saved:
    """Read what `to_bytes` wrote.

    Raises:
        UserError: it is something else, is damaged, or belongs to another model.
    """
    try:
        tensors = load(data)
        about = _about(data)
        tokens, steps = int(about["tokens"]), int(about["steps"])
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "This is no state: it must be what GET /v1/states/ID/content gave, unchanged."
        ) from error
    if about.get("fingerprint") != mind.fingerprint:
        raise UserError(
            f"This state belongs to the checkpoint {about.get('fingerprint')!r}; the one that is "
            f"served is {mind.fingerprint!r}. Read the text anew."
        )
    tail = tensors.pop("tail", torch.zeros(0))
    place = _place(tensors, mind.model, steps) if isinstance(mind.model, StreamModel) else None
    vocabulary = mind.model.vocab_size
    whole = tail.dtype == torch.int64 and tail.dim() == 1 and 0 < len(tail) <= 65_536
    if not whole or bool(((tail < 0) | (tail >= vocabulary)).any()) or tokens < len(tail):
        raise UserError("This state is damaged: its latest tokens are no tokens of this model.")
    ids = tuple(tail.tolist())
    if place is None and (tensors or steps < 0 or steps > 1_000):
        raise UserError("This state is damaged: it holds more than a window needs.")
    return Saved(ids[:-1] if place is None else place, ids, tokens, steps, mind.fingerprint)


def _about(data: bytes) -> dict[str, str]:
    """The notes in the head of a safetensors file that has been found whole."""
    length = int.from_bytes(data[:8], "little")
    notes = json.loads(data[8 : 8 + length])["__metadata__"]
    if notes.get("format") != FORMAT:
        raise ValueError(f"the format is {notes.get('format')!r}")
    return dict(notes)


def _place(tensors: dict[str, Tensor], model: StreamModel, steps: int) -> StreamState:
    """The past of one stream, checked against what the model would begin with."""
    if not 0 <= steps <= 1_000:
        raise UserError("This state is damaged: it says that it was made with impossible steps.")
    expected = model.start(1, steps).tensors()
    for name, tensor in expected.items():
        came = tensors.get(name)
        if came is None or came.shape != tensor.shape or came.dtype != tensor.dtype:
            raise UserError(f"This state is damaged: {name} is not as the model needs it.")
        if came.is_floating_point() and not bool(torch.isfinite(came).all()):
            raise UserError(f"This state is damaged: {name} holds numbers that are not finite.")
    if tensors.keys() - expected.keys():
        raise UserError("This state is damaged: it holds more than the model needs.")
    for name in ("latest", "followers"):
        ids = tensors[name]
        if bool(((ids < -1) | (ids >= model.vocab_size)).any()):
            raise UserError(f"This state is damaged: its {name} are no tokens of this model.")
    return StreamState.of(tensors).to(model.embedding.device)


class StateStore:
    """States by their names; the least recently used go when they take too much memory.

    Args:
        max_bytes: what all of them may take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[str, Saved] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, saved: Saved) -> Saved:
        """Keep a state under its name.

        Raises:
            UserError: it alone is larger than what may be kept.
        """
        if saved.nbytes > self.max_bytes:
            raise UserError(
                f"A state of {saved.nbytes:,} bytes is more than this server keeps "
                f"({self.max_bytes:,}). Start it with a larger --states-mb."
            )
        with self._lock:
            self._kept[saved.id] = saved
            self._bytes += saved.nbytes
            while self._bytes > self.max_bytes:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.nbytes
        return saved

    def get(self, name: str) -> Saved | None:
        """The state of that name, now the most recently used."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    def drop(self, name: str) -> bool:
        """Forget a state; False if there was none of that name."""
        with self._lock:
            gone = self._kept.pop(name, None)
            self._bytes -= 0 if gone is None else gone.nbytes
            return gone is not None

    def all(self) -> list[Saved]:
        """All of them, the most recently used first."""
        with self._lock:
            return list(reversed(self._kept.values()))
