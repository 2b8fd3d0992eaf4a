"""Windows that keep within lines."""

from pathlib import Path

import numpy as np
import pytest

from boggers.data.lines import LineWindows, cut_lines, read_lines
from boggers.errors import UserError

#        line 0      gap line 1  gap line 2 (too short) gap line 3
IDS = np.array([1, 2, 3, 4, 5, 0, 6, 7, 8, 9, 0, 11, 12, 0, 21, 22, 23, 24])
BYTES = (IDS > 0).astype(np.uint8)


def made(**options: object) -> LineWindows:
    settings = {"copies": 1, "buffer": None} | options
    return cut_lines(IDS, BYTES, 0.25, 2, **settings)[1]  # type: ignore[arg-type]


def seen(rows: LineWindows, epoch: int = 0) -> list[list[int]]:
    batches = [rows.batch(7, epoch, index, 4) for index in range(rows.batches(4))]
    return [
        [*context, target]
        for batch in batches
        for context, target in zip(batch.contexts.tolist(), batch.targets.tolist(), strict=True)
    ]


ALL = [[1, 2, 3], [2, 3, 4], [3, 4, 5], [6, 7, 8], [7, 8, 9]]


def test_windows_keep_within_lines_and_whole_lines_are_held_out() -> None:
    split, rows = cut_lines(IDS, BYTES, 0.25, 2, copies=1, buffer=None)
    assert IDS[split.held_out.start : split.held_out.stop].tolist() == [21, 22, 23, 24]
    assert sorted(seen(rows)) == ALL
    assert seen(rows) != seen(rows, epoch=1)


def test_copies_repeat_every_window() -> None:
    assert sorted(seen(made(copies=2))) == sorted(ALL * 2)


def test_a_buffer_shuffles_within_its_blocks_only() -> None:
    found = seen(made(buffer=3))
    assert sorted(found[:3]) == ALL[:3]
    assert sorted(found[3:]) == ALL[3:]
    orders = {str(seen(made(buffer=3), epoch)) for epoch in range(6)}
    assert len(orders) > 1


def test_nothing_is_held_out_if_nothing_is_asked_for() -> None:
    split, rows = cut_lines(IDS, BYTES, 0.0, 2, copies=1, buffer=None)
    assert len(split.held_out) == 0
    assert [21, 22, 23] in seen(rows)


def test_lines_are_stripped_and_comments_dropped(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("# head\n  one two \n\nthree\n")
    assert sorted(piece.text for piece in read_lines(file)) == ["one two", "three"]
    with pytest.raises(UserError, match="one file"):
        read_lines(tmp_path)


def test_lines_that_are_all_too_short_are_refused() -> None:
    with pytest.raises(UserError, match="more than 9 tokens"):
        cut_lines(IDS, BYTES, 0.25, 9, copies=1, buffer=None)
