"""Datasets of the Hugging Face hub as text files, read once and kept.

    data/cache/hf/tinystories_46047f2aaf7b6ad7399c.txt

Rows come one after another over the network, never all at once. Each becomes a document: a line
that holds only `<|endoftext|>` parts it from the next (see `reading.py`). The name of the file is a
hash of what was asked for, so another request never finds the wrong text.
"""

import fcntl
import hashlib
import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boggers.data.config import DataConfig
from boggers.data.reading import SEPARATOR
from boggers.errors import UserError
from boggers.files import write_pieces

Progress = Callable[[int, int], None]
"""Told how many rows, or bytes, are done, and how many there are in all; 0 where unknown."""

ROWS_BETWEEN_REPORTS = 200


@dataclass(frozen=True)
class HubText:
    """A column of text in a dataset of the hub.

    Attributes:
        path: OWNER/NAME on the hub, or a folder laid out like one.
        config: the configuration of the dataset; its only or default one if None.
        split: which part of it.
        columns: names of columns, of which the first that the dataset has is read.
        revision: a branch, tag or commit; the newest if None.
    """

    path: str
    config: str | None
    split: str
    columns: tuple[str, ...]
    revision: str | None


KNOWN = {
    "tinystories": HubText("roneneldan/TinyStories", None, "train", ("text", "story"), None),
    "fineweb-edu": HubText("HuggingFaceFW/fineweb-edu", "sample-10BT", "train", ("text",), None),
}
"""The datasets that have a name of their own on the command line."""


def hub_text(config: DataConfig) -> HubText:
    """Which column of which dataset a configuration names."""
    if config.dataset_source in KNOWN:
        return KNOWN[config.dataset_source]
    return HubText(
        path=str(config.hf_dataset),
        config=config.hf_config,
        split=config.hf_split,
        columns=("text",) if config.hf_column is None else (config.hf_column,),
        revision=config.hf_revision,
    )


def cache_file(config: DataConfig) -> Path:
    """Where the text of a request is kept: SOURCE_HASH.txt, 20 hexadecimal digits of SHA-256.

    Of the two datasets with a name the hash covers `SOURCE|rows=N|chars=M`; of others also the
    dataset, its configuration, split, column and revision.
    """
    request: list[str] = [config.dataset_source]
    name = config.dataset_source.replace("-", "_")
    if config.dataset_source not in KNOWN:
        asked = hub_text(config)
        parts = (asked.path, asked.config, asked.split, asked.columns[0], asked.revision)
        request += [str(part or "") for part in parts]
        name = re.sub(r"[^A-Za-z0-9.]+", "_", asked.path).strip("._")
    request += [f"rows={config.hf_max_rows}", f"chars={config.hf_max_chars}"]
    digest = hashlib.sha256("|".join(request).encode("utf-8")).hexdigest()
    return config.hf_cache_dir.expanduser() / f"{name}_{digest[:20]}.txt"


def materialise(config: DataConfig, progress: Progress | None = None) -> Path:
    """The text file of a hub dataset, read from the hub unless it is kept already.

    The file is written whole or not at all, and by one process at a time. A file that is there
    needs neither the network nor the package `datasets`.

    Args:
        config: its `dataset_source` is not local; `hf_refresh` reads the dataset again.
        progress: told rows done and rows in all.

    Raises:
        UserError: the package is missing, the hub or the dataset cannot be reached, there is no
            such configuration, split or column, or the rows hold no text.
    """
    file = cache_file(config)
    if file.is_file() and not config.hf_refresh:
        return file
    with _alone(file):
        if config.hf_refresh or not file.is_file():
            write_pieces(file, (text.encode("utf-8") for text in _text(config, progress)))
    return file


def _text(config: DataConfig, progress: Progress | None) -> Iterator[str]:
    """The rows as one text, cut after `hf_max_chars` characters; one is counted for each row."""
    left = config.hf_max_chars or sys.maxsize
    begun = False
    for row in _rows(config, progress):
        if not row or row.isspace():
            continue
        kept = row.strip("\n")[:left]
        yield f"{SEPARATOR}\n{kept}\n" if begun else f"{kept}\n"
        begun = True
        left -= len(kept) + 1
        if left <= 0:
            return
    if not begun:
        raise UserError(
            f"{_named(hub_text(config))} must hold text, but its first {config.hf_max_rows} rows "
            "hold none. Use a larger --hf-max-rows or another --hf-column."
        )


def _rows(config: DataConfig, progress: Progress | None) -> Iterator[str]:
    """The column's values, `hf_max_rows` of them, as they come."""
    asked = hub_text(config)
    datasets = _library()
    with _explained(asked, datasets):
        table = datasets.load_dataset(
            asked.path, asked.config, split=asked.split, revision=asked.revision, streaming=True
        )
        if config.hf_max_rows:
            table = table.take(config.hf_max_rows)
        for number, row in enumerate(table, start=1):
            yield _value(row, asked)
            if progress is not None and number % ROWS_BETWEEN_REPORTS == 0:
                progress(number, config.hf_max_rows)


def _value(row: dict[str, Any], asked: HubText) -> str:
    column = next((name for name in asked.columns if name in row), None)
    if column is None:
        raise UserError(
            f"{_named(asked)} has no column {' or '.join(map(repr, asked.columns))}; it has "
            f"{', '.join(row)}. Name one of them with --hf-column."
        )
    value = row[column]
    if value is not None and not isinstance(value, str):
        raise UserError(
            f"The column {column!r} of {_named(asked)} must hold text; it holds "
            f"{type(value).__name__}. Name another one with --hf-column."
        )
    return value or ""


def _library() -> Any:
    if importlib.util.find_spec("datasets") is None:
        raise UserError(
            "A dataset of the hub needs the package datasets, which is not installed. "
            "Install it with: pip install 'boggers[hub]'"
        )
    import datasets

    # One sentence of ours replaces a page of retries.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return datasets


@contextmanager
def _explained(asked: HubText, datasets: Any) -> Iterator[None]:
    """Turns what the library raises into a sentence."""
    try:
        yield
    except UserError:
        raise
    except datasets.exceptions.DatasetNotFoundError as error:
        raise UserError(
            f"{_named(asked)} must exist and be readable, but the hub shows no such dataset. Check "
            "its name; for a private or gated one put your token into the variable HF_TOKEN."
        ) from error
    except (ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"{_named(asked)} cannot be read: {_first_line(error)}") from error
    except _network_errors() as error:
        raise UserError(
            f"{_named(asked)} cannot be fetched, for the hub cannot be reached "
            f"({_first_line(error)}). Connect this machine, or give a text that is here with "
            "--corpus FILE."
        ) from error


def _network_errors() -> tuple[type[Exception], ...]:
    """What broken connections raise, in whichever of its versions the client library is here."""
    clients = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return (OSError, *(client.HTTPError for client in clients if client is not None))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _named(asked: HubText) -> str:
    return f"The dataset {asked.path}{f' ({asked.config})' if asked.config else ''}"


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One process at a time fetches a text; runs that start together wait for it."""
    lock = file.with_name(f".{file.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("w")
    except OSError as error:
        raise UserError(
            f"The cache {lock.parent} must be a folder that can be written, but cannot: "
            f"{error.strerror}. Name another one with --hf-cache-dir."
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
