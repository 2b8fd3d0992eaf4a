import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from boggers.data import encoding, reading, tokens
from boggers.data.corpus import documents
from boggers.data.tokens import TokenCorpus, tokenise
from boggers.errors import UserError
from boggers.text.base import Ids
from boggers.text.bpe import BytePairTokenizer
from boggers.text.byte import SEPARATOR, ByteTokenizer

from .conftest import Configure, Write


class Counting(ByteTokenizer):
    """Bytes, and how many texts were encoded."""

    def __init__(self) -> None:
        self.texts = 0

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[Ids, Ids]]:
        self.texts += len(texts)
        return super().encode_batch(texts)


class Parting(ByteTokenizer):
    """Bytes without a separator."""

    separator_id = None  # type: ignore[assignment]


class Otherwise(ByteTokenizer):
    """Bytes under another fingerprint."""

    fingerprint = "1"  # type: ignore[assignment]


class Long(ByteTokenizer):
    """Every text is one token, 70,000 if it is long."""

    def __init__(self) -> None:
        self.vocab_size = 70_001

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[Ids, Ids]]:
        return [(np.array([min(len(t), 70_000)]), np.array([len(t.encode())])) for t in texts]


def test_documents_are_parted_by_the_separator(write: Write, configure: Configure) -> None:
    found = tokenise(configure(write("a.jsonl", '"ab"\n"ö"\n"c"\n')), ByteTokenizer())
    assert found.ids.tolist() == [97, 98, SEPARATOR, 0xC3, 0xB6, SEPARATOR, 99]
    assert found.byte_lengths.tolist() == [1, 1, 0, 1, 1, 0, 1]
    assert (found.n_documents, found.n_bytes) == (3, 5)
    assert isinstance(found.ids, np.memmap)
    assert found.ids.dtype == np.uint16
    assert found.byte_lengths.dtype == np.uint8


def test_without_a_separator_an_empty_line_of_no_bytes_parts_them(
    write: Write, configure: Configure
) -> None:
    found = tokenise(configure(write("a.jsonl", '"ab"\n"c"\n')), Parting())
    assert found.ids.tolist() == [97, 98, 10, 10, 99]
    assert found.byte_lengths.tolist() == [1, 1, 0, 0, 1]


def test_a_document_of_many_pieces_is_the_document(
    write: Write, configure: Configure, prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 3000)
    monkeypatch.setattr(encoding, "GROUP_CHARACTERS", 20_000)
    tokenizer = BytePairTokenizer.train([prose], 512)
    config = configure(write("a.txt", f"{prose}\n{reading.SEPARATOR}\n{prose}"))
    assert len(list(documents(config))) > 4
    found = tokenise(config, tokenizer)
    expected = [*tokenizer.encode(prose + "\n"), tokenizer.separator_id, *tokenizer.encode(prose)]
    assert found.ids.tolist() == expected
    assert found.byte_lengths.sum() == found.n_bytes == 2 * len(prose.encode()) + 1


def test_numbers_that_do_not_fit_make_the_files_wider(
    write: Write, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "GROUP_CHARACTERS", 2)
    monkeypatch.setattr(reading, "PIECE_CHARACTERS", 1 << 20)
    file = write("a.json", '["' + '", "'.join(["x", "y" * 255, "z" * 300, "w" * 70_000]) + '"]')
    monkeypatch.setattr(reading.cut, "__defaults__", (True, 1 << 20))
    found = tokenise(configure(file), Long())
    assert found.ids.dtype == found.byte_lengths.dtype == np.uint32
    assert found.byte_lengths[::2].tolist() == [1, 255, 300, 70_000]
    assert found.ids[::2].tolist() == [1, 255, 300, 70_000]
    assert sorted(p.name for p in found.path.iterdir()) == [
        *("bytes-00000.bin", "ids-00000.bin", "manifest.json", "meta.json")
    ]


class TestTheCache:
    @pytest.fixture
    def file(self, write: Write) -> Path:
        return write("a.txt", "some text")

    def test_the_same_text_is_encoded_once(self, file: Path, configure: Configure) -> None:
        tokenizer = Counting()
        first = tokenise(configure(file), tokenizer)
        file.rename(file.with_name("b.txt"))
        again = tokenise(configure(file.with_name("b.txt")), tokenizer)
        assert tokenizer.texts == 1
        assert first.path == again.path
        assert first.key == again.key
        assert again.ids.tolist() == list(b"some text")

    def test_another_text_or_tokenizer_is_encoded_anew(
        self, file: Path, configure: Configure
    ) -> None:
        tokenizer = Counting()
        first = tokenise(configure(file), tokenizer)
        file.write_text("some next")  # as long as before
        other = tokenise(configure(file), tokenizer)
        assert tokenizer.texts == 2
        assert first.key != other.key
        assert other.ids.tolist() == list(b"some next")
        unparted = tokenise(configure(file), Otherwise())
        assert unparted.key == other.key
        assert unparted.path != other.path

    @pytest.mark.parametrize(
        "name", ["ids-00000.bin", "bytes-00000.bin", "meta.json", "manifest.json"]
    )
    def test_an_entry_that_is_not_whole_is_made_anew(
        self, file: Path, configure: Configure, name: str
    ) -> None:
        tokenizer = Counting()
        folder = tokenise(configure(file), tokenizer).path
        damaged = folder / name
        if name.endswith(".bin"):
            damaged.write_bytes(damaged.read_bytes()[:-1])
        else:
            damaged.unlink()
        assert tokenise(configure(file), tokenizer).ids.tolist() == list(b"some text")
        assert tokenizer.texts == 2

    def test_an_entry_whose_description_is_damaged_is_made_anew(
        self, file: Path, configure: Configure
    ) -> None:
        tokenizer = Counting()
        folder = tokenise(configure(file), tokenizer).path
        (folder / "meta.json").write_text("{")
        assert tokenise(configure(file), tokenizer).ids.tolist() == list(b"some text")
        assert tokenizer.texts == 2

    def test_a_mistake_leaves_nothing_behind(
        self, write: Write, configure: Configure, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError):
            tokenise(configure(write("a.txt", b"\xff")), ByteTokenizer())
        assert not (tmp_path / "cache").exists()

    @pytest.mark.parametrize("later", ["some longer text", "same_size"])
    def test_a_text_that_changes_meanwhile_is_refused(
        self, file: Path, configure: Configure, tmp_path: Path, later: str
    ) -> None:
        class Meddling(ByteTokenizer):
            @property
            def fingerprint(self) -> str:
                file.write_text(later)
                return "0"

        with pytest.raises(UserError, match="must stay as it is while it is read"):
            tokenise(configure(file), Meddling())
        assert [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()] == []

    def test_runs_that_start_together_encode_the_text_once(
        self, file: Path, configure: Configure
    ) -> None:
        class Slow(Counting):
            def encode_batch(self, texts: Sequence[str]) -> list[tuple[Ids, Ids]]:
                time.sleep(0.2)
                return super().encode_batch(texts)

        tokenizer = Slow()
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: tokenise(configure(file), tokenizer), range(4)))
        assert [corpus.ids.tolist() for corpus in found] == [list(b"some text")] * 4
        assert tokenizer.texts == 1

    def test_a_folder_that_cannot_be_made(
        self, file: Path, configure: Configure, tmp_path: Path
    ) -> None:
        (tmp_path / "in the way").write_text("")
        with pytest.raises(UserError, match="in the way"):
            tokenise(configure(file, cache_dir=tmp_path / "in the way"), ByteTokenizer())


def test_progress_is_told_in_bytes(
    write: Write, configure: Configure, prose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "SHARD_CHARACTERS", 10_000)
    told: list[tuple[int, int]] = []
    config = configure(write("a.txt", prose), tokenizer_workers=1)
    found: TokenCorpus = tokenise(config, ByteTokenizer(), lambda *now: told.append(now))
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == (found.n_bytes, found.n_bytes)
