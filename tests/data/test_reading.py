import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from boggers.data import reading
from boggers.data.reading import SEPARATOR, Piece, cut, part, read
from boggers.errors import UserError
from boggers.text.bpe import BytePairTokenizer

from .conftest import Write


def joined(pieces: list[Piece]) -> list[str]:
    """The documents that pieces make up."""
    found: list[str] = []
    for piece in pieces:
        assert piece.text != ""
        if piece.begins_document:
            found.append("")
        found[-1] += piece.text
    return found


def texts(file: Path) -> list[str]:
    return joined(list(read(file)))


PARTING = [SEPARATOR, f"{SEPARATOR} \r"]
ALMOST = [f" {SEPARATOR}", f"{SEPARATOR}x", "<|endof"]
PLAIN = ["", "a b", "word", "x" * 70, "  ", "ö\t語"]
LINES = st.lists(st.sampled_from([*PARTING, *ALMOST, *PLAIN]), max_size=12)


@given(LINES, st.booleans(), st.integers(1, 40), st.integers(1, 30))
@example([SEPARATOR, "a"], False, 1, 1)
@example(["a" * 100 + SEPARATOR, SEPARATOR], True, 7, 5)
def test_a_line_with_the_separator_alone_parts_documents(
    lines: list[str], ends: bool, block: int, size: int
) -> None:
    text = "\n".join(lines) + ("\n" if ends else "")
    blocks = [text[i : i + block] for i in range(0, len(text), block)]
    expected = [d for d in re.split(r"(?m)^<\|endoftext\|>[ \t\r]*(?:\n|\Z)", text) if d]
    found = list(part(blocks, size))
    assert joined(found) == expected
    assert all(len(piece.text) <= size for piece in found)


@pytest.mark.parametrize("unit", ["\n", " ", "\r\n", "\t ", "a\t ", "a"])
def test_text_without_a_place_to_cut_takes_no_longer(unit: str) -> None:
    text = unit * (4_000_000 // len(unit))
    begun = time.process_time()
    blocks = (text[i : i + reading.READ_BYTES] for i in range(0, len(text), reading.READ_BYTES))
    assert sum(len(piece.text) for piece in part(blocks)) == len(text)
    assert time.process_time() - begun < 5  # walking back blank by blank took minutes


@given(st.integers(1, 300))
def test_cutting_loses_nothing(size: int) -> None:
    text = "one two  three\n\nfour " * 40
    found = list(cut(text, size=size))
    assert joined(found) == [text]
    assert [piece.begins_document for piece in found] == [True] + [False] * (len(found) - 1)
    assert all(len(piece.text) <= size for piece in found)


@pytest.fixture(scope="module")
def tokenizer(prose: str) -> BytePairTokenizer:
    return BytePairTokenizer.train([prose], 512)


@pytest.mark.parametrize("size", [100, 500, 5000])
def test_cutting_changes_no_token(prose: str, tokenizer: BytePairTokenizer, size: int) -> None:
    found = list(cut(prose, size=size))
    assert len(found) >= len(prose) // size
    assert [i for piece in found for i in tokenizer.encode(piece.text)] == tokenizer.encode(prose)
    for before, after in pairwise(found):
        assert after.text[0] in " \n"
        assert not before.text[-1].isspace()


def test_a_long_text_comes_in_bounded_pieces(
    write: Write, prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 1000)
    text = prose * 3 + "\n" + "x" * 100_000
    found = list(read(write("long.txt", text)))
    assert joined(found) == [text]
    assert max(len(piece.text) for piece in found) <= reading.PIECE_CHARACTERS


def test_a_byte_order_mark_is_no_text(write: Write) -> None:
    assert texts(write("a.txt", b"\xef\xbb\xbfone")) == ["one"]
    assert texts(write("a.jsonl", b'\xef\xbb\xbf{"text": "one"}')) == ["one"]


def test_json_lines(write: Write) -> None:
    lines = [
        '{"text": "one\\ntwo"}',
        "",
        '{"content": "three", "sentence": "no"}\r',
        '{"text": "", "sentence": "four\u2028five"}',
        '"six"',
        "   ",
    ]
    expected = ["one\ntwo", "three", "four\u2028five", "six"]
    assert texts(write("a.jsonl", "\n".join(lines))) == expected


@pytest.mark.parametrize(
    "line",
    ['{"text": ', "plain words", "[]", "3", "{}", '{"text": 3}', '{"text": ""}', "[" * 100_000],
)
def test_a_bad_line_is_named(write: Write, line: str) -> None:
    file = write("a.jsonl", f'{{"text": "good"}}\n\n{line}\n{{"text": "good"}}\n')
    with pytest.raises(UserError, match=r"a\.jsonl, line 3 must"):
        list(read(file))


def test_half_a_surrogate_pair_is_refused(write: Write) -> None:
    with pytest.raises(UserError, match=r"a\.jsonl, line 1 .*surrogate"):
        list(read(write("a.jsonl", r'{"text": "ab\ud800c"}')))


def test_json(write: Write) -> None:
    assert texts(write("a.json", '[{"text": "one"}, "two", {"sentence": "three"}]')) == [
        *("one", "two", "three")
    ]
    assert texts(write("b.json", '{\n "content": "one"\n}')) == ["one"]
    with pytest.raises(UserError, match=r"c\.json, record 2 must have text"):
        list(read(write("c.json", '["one", {"title": "two"}]')))
    with pytest.raises(UserError, match=r"d\.json must be JSON, but is not: .*line 2"):
        list(read(write("d.json", '["one",\n oops]')))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.md"])
@pytest.mark.parametrize("blank", ["", "\ufeff"])
def test_an_empty_file_is_refused(write: Write, name: str, blank: str) -> None:
    with pytest.raises(UserError, match=rf"{name} must hold text, but is empty"):
        list(read(write(name, blank)))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
@pytest.mark.parametrize("bad", [b"\0", b"\xff", b"\xed\xa0\x80", b"\xe8\xaa"])
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_the_first_byte_that_is_no_text_is_named(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, bad: bytes, block: int
) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", block)
    start = '{"text": "höhe 語 🙂"}\n'.encode() * 3
    with pytest.raises(UserError, match=rf"{name} must be UTF-8 .*offset {len(start)} is not"):
        list(read(write(name, start + bad)))
