"""A long corpus: many files written by many processes, read as one array."""

import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from boggers.data import encoding, remembered, shards, tokens
from boggers.data.corpus import contents, scan
from boggers.data.sequences import Sequences
from boggers.data.shards import Shard, ShardedArray, total
from boggers.data.tokens import tokenise
from boggers.data.vocabulary import tokenizer_for
from boggers.data.windows import Windows
from boggers.errors import UserError
from boggers.text.base import Tokenizer
from boggers.text.bpe import BytePairTokenizer
from boggers.text.byte import ByteTokenizer
from boggers.text.config import TextConfig

from .conftest import Configure, Write


@pytest.fixture
def text(write: Write, prose: str) -> Path:
    return write("a.txt", f"{prose}\n<|endoftext|>\n{prose}")


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), None], ids=["byte", "bpe"])
def test_many_processes_write_what_one_writes(
    text: Path,
    configure: Configure,
    prose: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokenizer: Tokenizer | None,
) -> None:
    tokenizer = tokenizer or BytePairTokenizer.train([prose], 512)
    whole = tokenise(configure(text, cache_dir=tmp_path / "whole"), tokenizer)
    monkeypatch.setattr(tokens, "SHARD_CHARACTERS", 12_000)
    found = [
        tokenise(configure(text, cache_dir=tmp_path / str(n), tokenizer_workers=n), tokenizer)
        for n in (1, 2)
    ]
    names = [sorted(path.name for path in each.path.iterdir()) for each in found]
    assert names[0] == names[1]
    assert len(names[0]) == 2 * 5 + 2
    for each in found:
        assert isinstance(each.ids, ShardedArray)
        assert each.ids.tolist() == whole.ids.tolist()
        assert each.byte_lengths.tolist() == whole.byte_lengths.tolist()
        assert total(each.byte_lengths, 0, len(each.ids), 1000) == each.n_bytes == whole.n_bytes


def test_the_same_rows_come_from_shards_as_from_one_file(
    text: Path, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tokenise(configure(text), ByteTokenizer()).ids
    monkeypatch.setattr(tokens, "SHARD_CHARACTERS", 5000)
    cut = tokenise(
        configure(text, cache_dir=tmp_path / "cut", tokenizer_workers=1), ByteTokenizer()
    ).ids
    for index in (0, 5):
        one, other = (Windows(ids, 3, 70_000, 8).batch(1, 2, index, 64) for ids in (whole, cut))
        assert one.contexts.equal(other.contexts)
        assert one.targets.equal(other.targets)
        one, other = (
            Sequences(ids, 3, 70_000, 200).epoch_batch(1, 2, index, 16) for ids in (whole, cut)
        )
        assert one.targets.equal(other.targets)


def array(folder: Path, lengths: list[int], dtypes: list[str]) -> tuple[ShardedArray, list[int]]:
    made, values = [], []
    for number, (length, dtype) in enumerate(zip(lengths, dtypes, strict=True)):
        numbers = np.arange(length, dtype=dtype) + number
        numbers.tofile(folder / f"{number}.bin")
        made.append(Shard(folder / f"{number}.bin", length, dtype))
        values += numbers.tolist()
    return ShardedArray(made), values


def test_an_array_of_files_reads_as_one(tmp_path: Path) -> None:
    found, values = array(tmp_path, [5, 0, 3, 9], ["uint8", "uint8", "uint16", "uint8"])
    assert (found.dtype, found.shape, len(found)) == (np.uint16, (17,), 17)
    assert found.tolist() == values
    for at in (slice(2, 11), slice(4, 4), slice(None), slice(-3, None), slice(1, 16, 4)):
        assert found[at].tolist() == values[at]
    places = np.array([[16, 0], [4, 5], [8, 7], [-1, 3]])
    assert found[places].tolist() == np.array(values)[places].tolist()
    assert found[6] == values[6]
    for outside in (17, -18):
        with pytest.raises(IndexError, match="outside an array of 17"):
            found[np.array([outside])]


def test_no_more_is_mapped_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAPPED_BYTES", 20)
    found, values = array(tmp_path, [8] * 6, ["uint8"] * 6)
    for at in (0, 20, 47, 9, 33, 0):
        assert found[at] == values[at]
        assert sum(len(part) for part in found._mapped.values()) == found._mapped_bytes <= 20


def test_a_process_that_dies_is_named(
    text: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = encoding._Hand.__init__

    def doomed(hand: encoding._Hand, tokenizer: Tokenizer) -> None:
        begin(hand, tokenizer)
        hand._process.kill()

    monkeypatch.setattr(tokens, "SHARD_CHARACTERS", 12_000)
    monkeypatch.setattr(encoding._Hand, "__init__", doomed)
    config = configure(text, tokenizer_workers=2)
    with pytest.raises(UserError, match="--tokenizer-workers"):
        tokenise(config, ByteTokenizer())
    assert not [path for path in config.cache_folder.iterdir() if path.is_dir()]


class TestWhatIsRemembered:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Remember files however short ago they were changed."""
        monkeypatch.setattr(remembered, "SETTLED_SECONDS", -60.0)

    def test_an_unchanged_text_is_not_read_again(
        self, text: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = contents(configure(text))
        assert before == scan(configure(text))
        monkeypatch.setattr("boggers.data.corpus.scan", None)
        assert contents(configure(text)) == before

    @pytest.mark.parametrize("how", ["content", "length", "time", "cap", "another file"])
    def test_a_change_is_noticed(self, text: Path, configure: Configure, how: str) -> None:
        config, old = configure(text), text.read_text()
        before = contents(config)
        if how == "content":
            time.sleep(0.02)
            text.write_text("X" + old[1:])
            os.utime(text, ns=(0, 0))
            text.write_text("Y" + old[1:])
        elif how == "length":
            text.write_text(old + "more")
        elif how == "time":
            text.write_text("Z" + old[1:])
            os.utime(text, ns=(1, 1))
        elif how == "cap":
            config = configure(text, max_corpus_bytes=100)
        else:
            config = configure(text.with_name("b.txt"))
            config_file = text.with_name("b.txt")
            config_file.write_text("other")
        assert contents(config) == scan(config) != before

    def test_a_damaged_note_is_ignored(self, text: Path, configure: Configure) -> None:
        config = configure(text)
        before = contents(config)
        (note,) = (config.cache_folder / "read").iterdir()
        note.write_text("{")
        assert contents(config) == before
        assert note.read_text() != "{"


def test_a_text_changed_a_moment_ago_is_not_remembered(text: Path, configure: Configure) -> None:
    config = configure(text)
    contents(config)
    assert not (config.cache_folder / "read").exists()


def test_a_vocabulary_is_learned_once_from_each_text(
    text: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []
    train = BytePairTokenizer.train

    def counted(texts: object, vocab_size: int) -> BytePairTokenizer:
        learned.append(vocab_size)
        return train(texts, vocab_size)  # type: ignore[arg-type]

    monkeypatch.setattr(BytePairTokenizer, "train", counted)
    asked = [(512, {}), (512, {}), (600, {}), (512, {"tokenizer_bytes": 30_000}), (512, {})]
    made = [
        tokenizer_for(TextConfig(vocab_size=size), configure(text, **more)).fingerprint
        for size, more in asked
    ]
    assert learned == [512, 600, 512]
    assert made[0] == made[1] == made[4]
    assert len(set(made)) == 3
    text.write_text(text.read_text()[::-1])
    tokenizer_for(TextConfig(vocab_size=512), configure(text))
    assert len(learned) == 4


def test_groups_of_a_shard_keep_every_piece_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "GROUP_CHARACTERS", 5)
    pieces = [encoding.Piece(text, True) for text in ("ab", "cde", "f", "ghijkl", "m")]
    groups = list(encoding._groups(pieces))
    assert [piece for group in groups for piece in group] == pieces
    assert all(groups)
    assert len([*pairwise(groups)]) == 2
