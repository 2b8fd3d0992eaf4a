"""Datasets in the hub's own layout, read by the real library from a folder of this machine."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from boggers.cli.main import main
from boggers.data import hub
from boggers.data.config import DataConfig
from boggers.data.corpus import pieces, scan
from boggers.errors import UserError

Publish = Callable[..., Path]

STORIES = ["Once there was a fox.\n\nIt ran.", "  ", "A second  story.", "The end\nof it all."]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own, in which OWNER/NAME may be found."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def publish(here: Path) -> Publish:
    """Lay out a dataset as the hub does: parquet shards, and configurations in README.md."""

    def make(name: str, shards: list[dict[str, list[Any]]], config: str = "default") -> Path:
        folder = here / name
        (folder / config).mkdir(parents=True)
        for number, columns in enumerate(shards):
            file = f"train-{number:05}-of-{len(shards):05}.parquet"
            pq.write_table(pa.table(columns), folder / config / file)
        (folder / "README.md").write_text(
            f"---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: train\n"
            f"    path: {config}/train-*\n---\n# {name}\n"
        )
        return folder

    return make


def settings(source: str, **more: object) -> DataConfig:
    return DataConfig(dataset_source=source, **more)  # type: ignore[arg-type]


def test_tinystories_becomes_a_text_of_documents_under_the_documented_name(
    publish: Publish, here: Path
) -> None:
    publish("roneneldan/TinyStories", [{"text": STORIES[:2]}, {"text": STORIES[2:]}])
    config = settings("tinystories", hf_max_chars=1_500_000)
    file = hub.materialise(config)
    assert file == Path("data/cache/hf/tinystories_46047f2aaf7b6ad7399c.txt")
    text = file.read_text()
    assert text.split("<|endoftext|>\n") == [
        *("Once there was a fox.\n\nIt ran.\n", "A second  story.\n", "The end\nof it all.\n")
    ]
    assert scan(config).n_documents == 3
    assert [piece.begins_document for piece in pieces(config)] == [True] * 3
    left = {path.name for path in file.parent.iterdir()}
    assert left == {file.name, f".{file.name}.lock"}


def test_fineweb_edu_is_its_sample_of_ten_billion_tokens(publish: Publish) -> None:
    publish(
        "HuggingFaceFW/fineweb-edu", [{"id": ["a", "b"], "text": ["One.", "Two."]}], "sample-10BT"
    )
    file = hub.materialise(settings("fineweb-edu", hf_max_rows=1))
    key = hashlib.sha256(b"fineweb-edu|rows=1|chars=0").hexdigest()[:20]
    assert (file.name, file.read_text()) == (f"fineweb_edu_{key}.txt", "One.\n")


@pytest.mark.parametrize(("cap", "kept"), [(0, "abcdé\n"), (6, "abcdé\n"), (3, "abc\n")])
def test_the_cap_counts_characters_and_one_for_each_row(
    publish: Publish, cap: int, kept: str
) -> None:
    publish("some/thing", [{"text": ["abcdé", "xyz"]}])
    config = settings("hub", hf_dataset="some/thing", hf_max_rows=2, hf_max_chars=cap)
    text = hub.materialise(config).read_text()
    assert text == (kept if cap else f"{kept}<|endoftext|>\nxyz\n")


def test_any_other_dataset_is_read_by_configuration_split_and_column(
    publish: Publish, here: Path
) -> None:
    folder = publish("owner/essays", [{"title": ["T"], "body": ["An essay."]}], "english")
    asked = {"hf_dataset": "owner/essays", "hf_config": "english", "hf_column": "body"}
    file = hub.materialise(settings("hub", **asked))
    assert file.read_text() == "An essay.\n"
    assert file.name.startswith("owner_essays_")
    by_path = hub.materialise(settings("hub", **{**asked, "hf_dataset": str(folder)}))
    assert by_path.read_text() == "An essay.\n"
    names = [
        hub.cache_file(settings("hub", **{**asked, **other})).name
        for other in (
            *({}, {"hf_config": "x"}, {"hf_split": "test"}, {"hf_column": "title"}),
            *({"hf_revision": "v1"}, {"hf_max_rows": 3}, {"hf_max_chars": 3}),
        )
    ]
    assert len(set(names)) == len(names)


def test_a_kept_text_needs_neither_hub_nor_library_until_it_is_refreshed(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish("some/thing", [{"text": ["old"]}])
    config = settings("hub", hf_dataset="some/thing")
    file = hub.materialise(config)
    pq.write_table(pa.table({"text": ["new"]}), folder / "default/train-00000-of-00001.parquet")
    with monkeypatch.context() as without:
        without.setattr(hub.importlib.util, "find_spec", lambda name: None)
        assert hub.materialise(config).read_text() == "old\n"
        with pytest.raises(UserError, match=r"pip install 'boggers\[hub\]'"):
            hub.materialise(settings("hub", hf_dataset="some/thing", hf_refresh=True))
    fresh = hub.materialise(settings("hub", hf_dataset="some/thing", hf_refresh=True))
    assert (fresh, fresh.read_text()) == (file, "new\n")


def test_a_fetch_that_breaks_off_leaves_nothing_that_counts_as_kept(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("some/thing", [{"text": ["one", "two", "three"]}])
    config = settings("hub", hf_dataset="some/thing")
    whole = hub._value

    def broken(row: dict[str, Any], asked: hub.HubText) -> str:
        if row["text"] == "three":
            raise ConnectionError("the line went dead\nsecond line")
        return whole(row, asked)

    with monkeypatch.context() as breaking:
        breaking.setattr(hub, "_value", broken)
        with pytest.raises(UserError, match=r"cannot be reached \(the line went dead\)"):
            hub.materialise(config)
    assert [path for path in hub.cache_file(config).parent.iterdir() if path.suffix == ".txt"] == []
    assert hub.materialise(config).read_text().count("<|endoftext|>") == 2


def test_runs_that_start_together_fetch_once(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("some/thing", [{"text": ["one", "two"]}])
    config = settings("hub", hf_dataset="some/thing")
    asked: list[str] = []
    value = hub._value
    monkeypatch.setattr(hub, "_value", lambda row, at: asked.append("") or value(row, at))
    threads = [threading.Thread(target=hub.materialise, args=(config,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"hf_column": "story"}, r"no column 'story'; it has text, stars"),
        ({"hf_column": "stars"}, r"must hold text; it holds int"),
        ({"hf_split": "test"}, r"(?i)cannot be read: bad split: test"),
        ({"hf_config": "other"}, r"cannot be read: BuilderConfig 'other' not found"),
        ({"hf_max_rows": 1}, r"its first 1 rows hold none"),
    ],
)
def test_a_request_that_cannot_be_met(
    publish: Publish, more: dict[str, object], sentence: str
) -> None:
    publish("some/thing", [{"text": ["", "two"], "stars": [1, 2]}])
    with pytest.raises(UserError, match=sentence):
        hub.materialise(settings("hub", hf_dataset="some/thing", **more))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"dataset_source": "hub"}, "needs a dataset"),
        ({"hf_dataset": "a/b"}, "--dataset-source is local"),
        ({"dataset_source": "tinystories", "hf_split": "validation"}, "--hf-split speaks of"),
        ({"hf_max_rows": -1}, "--hf-max-rows must be at least 0"),
    ],
)
def test_settings_that_contradict_one_another(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        DataConfig(**values)


def test_offline_one_sentence_says_so(here: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(here / "home"), "HF_TOKEN": "hf_secret"}
    done = subprocess.run(
        [sys.executable, "-m", "boggers", "corpus", "hub", "--dataset-source", "tinystories"],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "roneneldan/TinyStories cannot be fetched, for the hub cannot be reached" in done.stderr
    assert "hf_secret" not in done.stdout + done.stderr


def test_a_corpus_of_the_hub_is_fetched_looked_at_and_trained_on(
    publish: Publish, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish("roneneldan/TinyStories", [{"text": [f"The fox saw {n} hills." for n in range(60)]}])
    source = ["--dataset-source", "tinystories"]
    assert main(["corpus", "hub", *source]) == 0
    assert capsys.readouterr().out.startswith("data/cache/hf/tinystories_")
    assert main(["corpus", "info", *source, "--hf-max-rows", "9"]) == 0
    assert "documents=9" in capsys.readouterr().out
    train = ["train", "tiny", *source, "--max-steps", "2", "--out", "run", "--cache-dir", "cache"]
    assert main([*train, "--hf-refresh"]) == 0
    assert "text       tinystories: " in capsys.readouterr().out
    assert main(["eval", "run"]) == 0
