"""When a graph and a memory move: not with every batch, but with the text that was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Beat:
    """What was read since the last beat, oldest first.

    Attributes:
        read: the token ids of each batch, of any shape.
        tensions: how tense each batch was when it had settled, scalars on the device; empty where
            nothing settles.
    """

    read: tuple[Tensor, ...]
    tensions: tuple[Tensor, ...]

    @property
    def tokens(self) -> Tensor:
        """The ids of all batches."""
        return self.read[0] if len(self.read) == 1 else _joined(self.read)

    @property
    def tension(self) -> Tensor | None:
        """The mean over the batches."""
        if len(self.tensions) < 2:
            return self.tensions[0] if self.tensions else None
        return torch.stack(self.tensions).mean()


class Beats:
    """Gathers batches until a beat is due: at the first one, then after as many tokens more.

    What fades by a share a beat, and what feels the mean of a beat, then means the same whether a
    text is read in few large batches or in many small ones; and a small batch does not pay for a
    beat of its own.

    Args:
        every: tokens between two beats, at least 1; no batch has more than one.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._read: list[Tensor] = []
        self._tensions: list[Tensor] = []
        self._gathered = every

    def add(self, contexts: Tensor, tension: Tensor | None) -> Beat | None:
        """Take in a batch; the beat that is due with it, if one is. Waits for nothing."""
        self._read.append(contexts)
        if tension is not None:
            self._tensions.append(tension)
        self._gathered += contexts.numel()
        if self._gathered < self._every:
            return None
        due = Beat(tuple(self._read), tuple(self._tensions))
        self._read, self._tensions, self._gathered = [], [], 0
        return due

    def tensors(self) -> dict[str, Tensor]:
        """What has been gathered since the last beat, for a checkpoint."""
        return {
            "tokens": _joined(self._read) if self._read else torch.zeros(0, dtype=torch.int64),
            "lengths": torch.tensor([ids.numel() for ids in self._read], dtype=torch.int64),
            "tensions": torch.stack(self._tensions) if self._tensions else torch.zeros(0),
        }

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from what `tensors` gave."""
        lengths = tensors["lengths"].tolist()
        self._read = list(torch.split(tensors["tokens"].to(device), lengths)) if lengths else []
        self._tensions = list(tensors["tensions"].to(device).unbind())
        self._gathered = sum(lengths)


def _joined(read: Sequence[Tensor]) -> Tensor:
    return torch.cat([ids.reshape(-1) for ids in read])
