"""Files as a stream of pieces of text: plain text, JSON lines, JSON; UTF-8 or refused.

Pieces end where no tokenizer joins characters, so cutting changes no token: before a space or a
line end that follows a letter, a digit or a sign. Only 16 Ki characters without one are cut hard.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from boggers.errors import UserError

PIECE_CHARACTERS = 1 << 14
READ_BYTES = 1 << 20
SEPARATOR = "<|endoftext|>"
TEXT_FIELDS = ("text", "content", "sentence")

_SEPARATOR_LINE = re.compile(r"^<\|endoftext\|>[ \t\r]*\n", re.MULTILINE)
_LAST_SEPARATOR_LINE = re.compile(r"^<\|endoftext\|>[ \t\r]*(?:\n|\Z)", re.MULTILINE)
_UNFINISHED_SEPARATOR = re.compile(r"<\|endoftext\|>[ \t\r]*\Z")
_UP_TO_LAST_BOUNDARY = re.compile(r".*\S(?=[ \n])", re.DOTALL)
_BYTE_ORDER_MARK = "\ufeff"


class Piece(NamedTuple):
    """A stretch of a document; a long document comes in several, the first of them marked."""

    text: str
    begins_document: bool


def read(file: Path) -> Iterator[Piece]:
    """The documents of one file, in pieces of at most 16 Ki characters.

    Raises:
        UserError: the file cannot be read, is empty, is not UTF-8 text or not what its suffix says.
    """
    if file.suffix.lower() == ".jsonl":
        found: Iterator[Piece] = (piece for text in _json_lines(file) for piece in cut(text))
    elif file.suffix.lower() == ".json":
        found = (piece for text in _json(file) for piece in cut(text))
    else:
        found = part(_decoded(file))
    is_empty = True
    for piece in found:
        is_empty = False
        yield piece
    if is_empty:
        raise UserError(f"{file} must hold text, but is empty. Remove it or give another file.")


def cut(text: str, begins: bool = True, size: int = PIECE_CHARACTERS) -> Iterator[Piece]:
    """A document, or the rest of one, in pieces of at most `size` characters."""
    at = 0
    while len(text) - at > size:
        stop = _boundary(text, at, at + size) or at + size
        yield Piece(text[at:stop], begins)
        at, begins = stop, False
    if at < len(text):
        yield Piece(text[at:], begins)


def part(blocks: Iterable[str], size: int = PIECE_CHARACTERS) -> Iterator[Piece]:
    """Plain text in pieces; a line that holds only `<|endoftext|>` parts documents."""
    text, begins, at_line_start = "", True, True
    for block in blocks:
        text += block
        at = 0
        for found in _separators(text, _SEPARATOR_LINE, at_line_start):
            yield from cut(text[at : found.start()], begins, size)
            at, begins = found.end(), True
        text, at_line_start = text[at:], at_line_start or at > 0
        stop = _finished(text, size, at_line_start)
        if stop > 0:
            yield from cut(text[:stop], begins, size)
            begins, at_line_start = False, text[stop - 1] == "\n"
            text = text[stop:]
    at = 0
    for found in _separators(text, _LAST_SEPARATOR_LINE, at_line_start):
        yield from cut(text[at : found.start()], begins, size)
        at, begins = found.end(), True
    yield from cut(text[at:], begins, size)


def _separators(
    text: str, pattern: re.Pattern[str], at_line_start: bool
) -> Iterator[re.Match[str]]:
    """Separator lines in a text whose first character may stand inside a line."""
    return (m for m in pattern.finditer(text) if m.start() > 0 or at_line_start)


def _finished(text: str, size: int, at_line_start: bool) -> int:
    """How much of a text that goes on may be given away; 0 to wait for more of it."""
    if len(text) < size:
        return 0
    line = text.rfind("\n") + 1
    tail = text[line:]
    may_part = SEPARATOR.startswith(tail) or _UNFINISHED_SEPARATOR.match(tail)
    known = line if may_part and (line > 0 or at_line_start) else len(text)
    return _boundary(text, 0, known) or (known if known >= 4 * size else 0)


def _boundary(text: str, start: int, stop: int) -> int:
    """The last place in (start, stop) at which cutting changes no token; 0 if there is none."""
    found = _UP_TO_LAST_BOUNDARY.match(text, start, stop)
    return found.end() if found else 0


def _json_lines(file: Path) -> Iterator[str]:
    for number, line in enumerate(_lines(file), start=1):
        if line.strip():
            yield _text_of(_parsed(line, f"{file}, line {number}"), f"{file}, line {number}")


def _json(file: Path) -> Iterator[str]:
    text = "".join(_decoded(file))
    if not text.strip():
        return
    value = _parsed(text, str(file))
    for number, record in enumerate(value if isinstance(value, list) else [value], start=1):
        yield _text_of(record, f"{file}, record {number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise UserError(f"{where} must be JSON, but is nested too deeply.") from error
    except ValueError as error:
        raise UserError(f"{where} must be JSON, but is not: {error}. Mend or remove it.") from error


def _text_of(record: Any, where: str) -> str:
    """The text of a record: itself, or the first of its text fields that holds one."""
    text = record if isinstance(record, str) else None
    if isinstance(record, dict):
        texts = (record[name] for name in TEXT_FIELDS if isinstance(record.get(name), str))
        text = next((text for text in texts if text), None)
    if not text:
        raise UserError(
            f"{where} must have text in one of the fields {', '.join(TEXT_FIELDS)}, but has none. "
            "Mend or remove it."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where} must have text that UTF-8 can write, but has half of a surrogate pair: "
            f"{error.object[error.start : error.end]!r}. Mend or remove it."
        ) from error
    return text


def _lines(file: Path) -> Iterator[str]:
    """Whole lines, ended by a line feed alone, as JSON lines are."""
    begun: list[str] = []
    for block in _decoded(file):
        first, *others = block.split("\n")
        begun.append(first)
        if others:
            yield "".join(begun)
            yield from others[:-1]
            begun = [others[-1]]
    yield "".join(begun)


def _decoded(file: Path) -> Iterator[str]:
    """The file's characters in blocks, without a byte order mark.

    Raises:
        UserError: it cannot be read, or is not UTF-8 text; the first bad byte's offset is named.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    for data in _blocks(file):
        waiting = len(decoder.getstate()[0])
        if b"\0" in data:
            raise UserError(_not_text(file, offset + data.index(b"\0")))
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise UserError(_not_text(file, offset - waiting + error.start)) from error
        yield text.removeprefix(_BYTE_ORDER_MARK) if offset == 0 else text
        offset += len(data)


def _blocks(file: Path) -> Iterator[bytes]:
    """The file's bytes; an empty block ends them."""
    try:
        with file.open("rb") as source:
            while data := source.read(READ_BYTES):
                yield data
        yield b""
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error


def _not_text(file: Path, offset: int) -> str:
    return (
        f"{file} must be UTF-8 text, but the byte at offset {offset} is not. "
        "Convert it to UTF-8, or give another file."
    )
