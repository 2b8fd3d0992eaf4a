"""Text becomes files of token ids and byte counts, a shard at a time, by several processes.

ids-00000.bin  bytes-00000.bin  ids-00001.bin  bytes-00001.bin  …
"""

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from boggers.data.reading import Piece
from boggers.errors import UserError
from boggers.text.base import Ids, Tokenizer

GROUP_CHARACTERS = 1 << 21
"""Text that is encoded at once; the ids of so much are in memory together."""

PARAGRAPH = "\n\n"
"""Parts documents where the tokenizer has no separator."""


@dataclass(frozen=True)
class Written:
    """One shard on the disk.

    Attributes:
        tokens: how many ids, and as many byte counts.
        ids, bytes: the types of the numbers in its two files.
        n_bytes: UTF-8 bytes of its text.
    """

    tokens: int
    ids: str
    bytes: str
    n_bytes: int


def shard_file(folder: Path, kind: str, number: int) -> Path:
    """The file of a shard's ids or bytes."""
    return folder / f"{kind}-{number:05}.bin"


def write_shards(
    folder: Path, stretches: Iterator[list[Piece]], tokenizer: Tokenizer, workers: int
) -> Iterator[Written]:
    """Encode stretches of a corpus into shards, and yield what each came to, in order.

    A single stretch is encoded here; more of them by `workers` processes, each of which writes
    its own files. No more stretches are in memory than processes, and two.

    Raises:
        UserError: a process died, for instance because memory ran out.
    """
    begun = list(islice(stretches, 2))
    rest = enumerate(chain(begun, stretches))
    if len(begun) < 2 or workers == 1:
        for number, stretch in rest:
            yield write_shard(folder, number, stretch, tokenizer)
        return
    waiting: deque[Future[Written]] = deque()
    hands: list[_Hand] = []
    here = threading.local()

    def begin() -> None:
        here.hand = _Hand(tokenizer)
        hands.append(here.hand)

    def write(number: int, stretch: list[Piece]) -> Written:
        hand: _Hand = here.hand
        return hand(folder, number, stretch)

    try:
        with ThreadPoolExecutor(workers, initializer=begin) as pool:
            for number, stretch in rest:
                if len(waiting) > workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(write, number, stretch))
            while waiting:
                yield waiting.popleft().result()
    finally:
        for hand in hands:
            hand.close()


class _Hand:
    """A process that encodes, one stretch after another.

    It runs `encoder.py` and nothing of the program that started it, so it neither inherits locks
    (as a fork does) nor runs an unguarded main module once more (as `multiprocessing` would).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        # One thread each: the processes are the parallelism.
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "boggers.data.encoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._send(tokenizer)

    def __call__(self, folder: Path, number: int, stretch: list[Piece]) -> Written:
        self._send((folder, number, stretch))
        assert self._process.stdout is not None
        try:
            answer: Written | BaseException = pickle.load(self._process.stdout)
        except (EOFError, OSError) as error:
            raise UserError(_DIED) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _send(self, value: object) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(value, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except OSError as error:
            raise UserError(_DIED) from error


_DIED = (
    "The text is cut into tokens by several processes, but one of them died. If memory ran out, "
    "use fewer with --tokenizer-workers."
)


def write_shard(folder: Path, number: int, stretch: list[Piece], tokenizer: Tokenizer) -> Written:
    """Encode one stretch of a corpus into the two files of a shard.

    Args:
        folder: where they are written.
        number: the shard, counted from 0; the very first document has nothing before it.
        stretch: its pieces in order.
        tokenizer: how to cut it.
    """
    id_type = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    between = _between(tokenizer)
    nothing = np.zeros_like(between)
    n_bytes = 0
    is_first = number == 0
    with (
        _Column(shard_file(folder, "ids", number), id_type) as ids,
        _Column(shard_file(folder, "bytes", number), np.uint8) as lengths,
    ):
        for group in _groups(stretch):
            encoded = tokenizer.encode_batch([piece.text for piece in group])
            for piece, (found, stands_for) in zip(group, encoded, strict=True):
                if piece.begins_document and not is_first:
                    ids.append(between)
                    lengths.append(nothing)
                is_first = False
                ids.append(found)
                lengths.append(stands_for)
                n_bytes += int(stands_for.sum())
    return Written(ids.length, ids.dtype.name, lengths.dtype.name, n_bytes)


def _between(tokenizer: Tokenizer) -> Ids:
    """What parts two documents: the separator, or the ids of an empty line where there is none."""
    if tokenizer.separator_id is not None:
        return np.array([tokenizer.separator_id], dtype=np.int64)
    return tokenizer.encode_with_bytes(PARAGRAPH)[0]


def _groups(stretch: list[Piece]) -> Iterator[list[Piece]]:
    """Pieces in lists of about `GROUP_CHARACTERS` characters."""
    group: list[Piece] = []
    size = 0
    for piece in stretch:
        group.append(piece)
        size += len(piece.text)
        if size >= GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


class _Column:
    """A file of unsigned numbers of one width, made wider when a number does not fit."""

    def __init__(self, path: Path, dtype: type[np.unsignedinteger[Any]]) -> None:
        self.path = path
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.length = 0
        self._file = path.open("wb")

    def __enter__(self) -> "_Column":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, values: Ids) -> None:
        """Write numbers of at least 0 at the end."""
        if values.size == 0:
            return
        wanted = np.min_scalar_type(int(values.max()))
        if wanted.itemsize > self.dtype.itemsize:
            self._widen(wanted)
        self._file.write(values.astype(self.dtype).tobytes())
        self.length += values.size

    def _widen(self, dtype: np.dtype[Any]) -> None:
        self._file.close()
        narrow = self.path.rename(self.path.with_suffix(".narrow"))
        step = GROUP_CHARACTERS * self.dtype.itemsize
        self._file = self.path.open("wb")
        with narrow.open("rb") as source:
            while data := source.read(step):
                self._file.write(np.frombuffer(data, self.dtype).astype(dtype).tobytes())
        narrow.unlink()
        self.dtype = dtype
