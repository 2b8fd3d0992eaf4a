"""A corpus as memory-mapped arrays of ids and byte counts, tokenised once and kept by content."""

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boggers.data.config import DataConfig
from boggers.data.corpus import Contents, pieces, scan
from boggers.data.reading import Piece
from boggers.errors import UserError
from boggers.files import MANIFEST, read_json, write_folder, write_json
from boggers.text.base import Ids, Tokenizer

GROUP_CHARACTERS = 1 << 21
"""Text that is encoded at once; tokenizers work on its pieces in parallel."""

PARAGRAPH = "\n\n"
"""Parts documents where the tokenizer has no separator."""

LAYOUT = 2
"""Changed whenever the files below change their meaning."""

IDS, BYTES, META = "ids.bin", "bytes.bin", "meta.json"


@dataclass(frozen=True)
class TokenCorpus:
    """A tokenised corpus of n tokens.

    Attributes:
        ids: (n,) uint16, or uint32 above 65,536 entries; on the disk, mapped into memory.
        byte_lengths: (n,) uint8, or wider if need be: UTF-8 bytes that each token stands for, 0
            for what parts documents. They add up to `n_bytes`.
        n_documents: how many documents.
        n_bytes: UTF-8 bytes of the text.
        key: SHA-256 of the text and of where its documents begin; no matter which tokenizer.
        path: the folder in the cache.
    """

    ids: NDArray[Any]
    byte_lengths: NDArray[Any]
    n_documents: int
    n_bytes: int
    key: str
    path: Path


def tokenise(
    config: DataConfig,
    tokenizer: Tokenizer,
    progress: Callable[[int, int], None] | None = None,
) -> TokenCorpus:
    """The corpus as ids, from the cache if the same text has been tokenised before.

    The text is read each time, so that a change in it is never missed; it is encoded once.

    Args:
        config: which text.
        tokenizer: how to cut it.
        progress: told bytes done and bytes in all.

    Raises:
        UserError: the corpus cannot be read (see `pieces`), it changed meanwhile, or the cache
            cannot be written.
    """
    contents = scan(config)
    name = f"{LAYOUT}/{contents.key}/{tokenizer.fingerprint}"
    folder = config.cache_folder / hashlib.sha256(name.encode("ascii")).hexdigest()
    if not _is_whole(folder):
        with _alone(folder):
            if not _is_whole(folder):
                write_folder(folder, lambda to: _write(to, config, tokenizer, contents, progress))
    meta = read_json(folder / META)
    return TokenCorpus(
        ids=np.memmap(folder / IDS, dtype=meta["ids"], mode="r"),
        byte_lengths=np.memmap(folder / BYTES, dtype=meta["bytes"], mode="r"),
        n_documents=contents.n_documents,
        n_bytes=contents.n_bytes,
        key=contents.key,
        path=folder,
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes an entry of the cache; runs that start together wait for it."""
    lock = folder.with_name(f".{folder.name}.lock")
    with ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(lock.open("w")), fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(
                f"The cache {lock.parent} must be a folder that can be written and locked, "
                f"but cannot: {error.strerror}. Name another one with --cache-dir."
            ) from error
        yield


def _is_whole(folder: Path) -> bool:
    """Whether a cache entry has all its bytes; anything else is made anew."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        meta = read_json(folder / META)
    except UserError:
        return False
    return all(
        (folder / name).is_file()
        and (folder / name).stat().st_size == meta["tokens"] * np.dtype(meta[kind]).itemsize
        for name, kind in ((IDS, "ids"), (BYTES, "bytes"))
    )


def _write(
    folder: Path,
    config: DataConfig,
    tokenizer: Tokenizer,
    contents: Contents,
    progress: Callable[[int, int], None] | None,
) -> None:
    id_type = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    between = _between(tokenizer)
    nothing = np.zeros_like(between)
    n_documents = n_bytes = 0
    with _Column(folder / IDS, id_type) as ids, _Column(folder / BYTES, np.uint8) as lengths:
        for group in _groups(pieces(config)):
            encoded = tokenizer.encode_batch([piece.text for piece in group])
            for piece, (found, stands_for) in zip(group, encoded, strict=True):
                if piece.begins_document and n_documents > 0:
                    ids.append(between)
                    lengths.append(nothing)
                n_documents += piece.begins_document
                ids.append(found)
                lengths.append(stands_for)
                n_bytes += int(stands_for.sum())
            if progress is not None:
                progress(n_bytes, contents.n_bytes)
    # The entry carries the key of the first reading: it must not hold the text of a later one.
    if n_bytes != contents.n_bytes or scan(config) != contents:
        raise UserError(
            f"The corpus {config.source} must stay as it is while it is read, but it changed. "
            "Try again when it is complete."
        )
    meta = {"tokens": ids.length, "ids": ids.dtype.name, "bytes": lengths.dtype.name}
    write_json(folder / META, meta)


def _between(tokenizer: Tokenizer) -> Ids:
    """What parts two documents: the separator, or the ids of an empty line where there is none."""
    if tokenizer.separator_id is not None:
        return np.array([tokenizer.separator_id], dtype=np.int64)
    return tokenizer.encode_with_bytes(PARAGRAPH)[0]


def _groups(stream: Iterator[Piece]) -> Iterator[list[Piece]]:
    """Pieces in lists of about `GROUP_CHARACTERS` characters."""
    group: list[Piece] = []
    size = 0
    for piece in stream:
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
