"""A corpus as memory-mapped arrays of ids and byte counts, tokenised once and kept by content."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from boggers.data.config import DataConfig
from boggers.data.corpus import Contents, Reading, contents, pieces
from boggers.data.encoding import shard_file, write_shards
from boggers.data.reading import Piece
from boggers.data.shards import Shard, ShardedArray
from boggers.errors import UserError
from boggers.files import MANIFEST, read_json, write_folder, write_json
from boggers.text.base import Tokenizer

SHARD_CHARACTERS = 1 << 24
"""Text whose tokens lie in one file, about; a process cuts so much at a time."""

LAYOUT = 3
"""Changed whenever the files below change their meaning."""

META = "meta.json"


@dataclass(frozen=True)
class TokenCorpus:
    """A tokenised corpus of n tokens.

    Attributes:
        ids: (n,) uint16, or uint32 above 65,536 entries; on the disk, mapped into memory, a long
            corpus shard by shard (`ShardedArray`).
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

    The text is read again only if its files have changed (see `remembered.py`), and encoded once,
    by several processes if it is long.

    Args:
        config: which text.
        tokenizer: how to cut it.
        progress: told bytes done and bytes in all.

    Raises:
        UserError: the corpus cannot be read (see `pieces`), it changed meanwhile, or the cache
            cannot be written.
    """
    held = contents(config)
    name = f"{LAYOUT}/{held.key}/{tokenizer.fingerprint}"
    folder = config.cache_folder / hashlib.sha256(name.encode("ascii")).hexdigest()
    if not _is_whole(folder):
        with _alone(folder):
            if not _is_whole(folder):
                _sweep(folder)
                write_folder(folder, lambda to: _write(to, config, tokenizer, held, progress))
    shards = read_json(folder / META)["shards"]
    return TokenCorpus(
        ids=_opened(folder, "ids", shards),
        byte_lengths=_opened(folder, "bytes", shards),
        n_documents=held.n_documents,
        n_bytes=held.n_bytes,
        key=held.key,
        path=folder,
    )


def _opened(folder: Path, kind: str, shards: Sequence[dict[str, Any]]) -> NDArray[Any]:
    found = _shards(folder, kind, shards)
    if len(found) == 1:
        return found[0].opened()
    # Behaves as an array to everything that reads it: by slices and by arrays of positions.
    return cast("NDArray[Any]", ShardedArray(found))


def _shards(folder: Path, kind: str, shards: Sequence[dict[str, Any]]) -> list[Shard]:
    """The files of one kind, ids or bytes, as `meta.json` describes them."""
    return [
        Shard(shard_file(folder, kind, number), shard["tokens"], shard[kind])
        for number, shard in enumerate(shards)
    ]


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
        shards = read_json(folder / META)["shards"]
    except UserError:
        return False
    return all(
        shard.file.is_file() and shard.file.stat().st_size == shard.n_bytes
        for kind in ("ids", "bytes")
        for shard in _shards(folder, kind, shards)
    )


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def _write(
    folder: Path,
    config: DataConfig,
    tokenizer: Tokenizer,
    held: Contents,
    progress: Callable[[int, int], None] | None,
) -> None:
    reading = Reading()
    done = 0
    shards = []
    stretches = _stretches(pieces(config), reading)
    for shard in write_shards(folder, stretches, tokenizer, config.workers):
        shards.append(asdict(shard))
        done += shard.n_bytes
        if progress is not None:
            progress(done, held.n_bytes)
    # The entry carries the key of the first reading: it must not hold the text of a later one.
    if done != held.n_bytes or reading.contents != held:
        raise UserError(
            f"The corpus {config.source} must stay as it is while it is read, but it changed. "
            "Try again when it is complete."
        )
    write_json(folder / META, {"shards": shards})


def _stretches(stream: Iterator[Piece], reading: Reading) -> Iterator[list[Piece]]:
    """Pieces in lists of about `SHARD_CHARACTERS` characters, each noted in `reading`."""
    stretch: list[Piece] = []
    size = 0
    for piece in stream:
        reading.add(piece)
        stretch.append(piece)
        size += len(piece.text)
        if size >= SHARD_CHARACTERS:
            yield stretch
            stretch, size = [], 0
    if stretch:
        yield stretch
