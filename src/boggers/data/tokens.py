"""A corpus as one memory-mapped array of ids, tokenised once and kept under its content's key."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boggers.data.config import DataConfig
from boggers.data.corpus import Piece, pieces
from boggers.errors import UserError
from boggers.files import MANIFEST, read_json, write_folder, write_json
from boggers.text.base import Tokenizer

GROUP = 16
"""Pieces that are encoded together: the tokenizers work on them in parallel."""

PARAGRAPH = "\n\n"
"""Stands between documents where the tokenizer has no separator."""

LAYOUT = 1
"""Changed whenever the files below change their meaning."""


@dataclass(frozen=True)
class TokenCorpus:
    """A tokenised corpus.

    Attributes:
        ids: (tokens,) unsigned integers, memory-mapped.
        byte_lengths: (tokens,) UTF-8 bytes that each token stands for; 0 for separators.
        n_documents, n_bytes: of the text.
        key: SHA-256 of the text and the tokenizer's fingerprint.
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
    """The corpus as ids, from the cache if it has been tokenised before.

    Args:
        config: which text.
        tokenizer: how to cut it.
        progress: told bytes done and bytes in all.

    Raises:
        UserError: the corpus cannot be read (see `pieces`), or the cache cannot be written.
    """
    key, n_bytes = _key(config, tokenizer)
    folder = cache_folder(config) / key
    if not (folder / MANIFEST).is_file():
        write_folder(folder, lambda target: _write(target, config, tokenizer, n_bytes, progress))
    meta = read_json(folder / "meta.json")
    return TokenCorpus(
        ids=np.memmap(folder / "ids.bin", dtype=meta["ids"], mode="r"),
        byte_lengths=np.memmap(folder / "bytes.bin", dtype=meta["bytes"], mode="r"),
        n_documents=meta["documents"],
        n_bytes=n_bytes,
        key=key,
        path=folder,
    )


def cache_folder(config: DataConfig) -> Path:
    """Where tokenised corpora are kept."""
    if config.cache_dir is not None:
        return config.cache_dir
    named = os.environ.get("BOGGERS_CACHE")
    return (Path(named) if named else Path.home() / ".cache" / "boggers") / "tokens"


def _key(config: DataConfig, tokenizer: Tokenizer) -> tuple[str, int]:
    digest = hashlib.sha256(f"{LAYOUT}|{tokenizer.fingerprint}".encode())
    n_bytes = 0
    for piece in pieces(config):
        data = piece.text.encode("utf-8")
        digest.update(b"\x01" if piece.begins_document else b"\x00")
        digest.update(data)
        n_bytes += len(data)
    return digest.hexdigest(), n_bytes


def _write(
    folder: Path,
    config: DataConfig,
    tokenizer: Tokenizer,
    n_bytes: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    id_type = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    n_documents = done = 0
    with (folder / "ids.bin").open("wb") as ids, (folder / "bytes.bin").open("wb") as lengths:
        for group in _groups(pieces(config)):
            for piece, text, (found, stands_for) in _encoded(group, tokenizer, n_documents == 0):
                if piece.begins_document and n_documents and tokenizer.separator_id is not None:
                    ids.write(id_type(tokenizer.separator_id).tobytes())
                    lengths.write(np.uint16(0).tobytes())
                n_documents += piece.begins_document
                ids.write(found.astype(id_type).tobytes())
                lengths.write(stands_for.astype(np.uint16).tobytes())
                done += len(text.encode("utf-8"))
            if progress is not None:
                progress(min(done, n_bytes), n_bytes)
    if not (folder / "ids.bin").stat().st_size:
        raise UserError(f"The corpus {config.corpus} holds no tokens. Give a text with --corpus.")
    meta = {"ids": np.dtype(id_type).name, "bytes": "uint16", "documents": n_documents}
    write_json(folder / "meta.json", meta)


def _encoded(
    group: list[Piece], tokenizer: Tokenizer, first: bool
) -> Iterator[tuple[Piece, str, tuple[Any, Any]]]:
    """Each piece with the text encoded for it: a paragraph break stands in for a separator."""
    texts = []
    for number, piece in enumerate(group):
        joins = piece.begins_document and not (first and number == 0)
        needs_break = joins and tokenizer.separator_id is None
        texts.append(PARAGRAPH + piece.text if needs_break else piece.text)
    yield from zip(group, texts, tokenizer.encode_batch(texts), strict=True)


def _groups(stream: Iterator[Piece]) -> Iterator[list[Piece]]:
    group: list[Piece] = []
    for piece in stream:
        group.append(piece)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group
