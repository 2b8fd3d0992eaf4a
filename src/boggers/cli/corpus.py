"""`boggers corpus`: what a text holds and how it is split; a made-up text, one of the hub."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import Progress

from boggers.cli.parse import parse
from boggers.data.config import DataConfig
from boggers.data.corpus import scan
from boggers.data.hub import materialise
from boggers.data.reading import SEPARATOR
from boggers.data.split import split
from boggers.data.synthetic import stories
from boggers.errors import UserError
from boggers.files import write_text


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """Write generated sentences to a file."""

    out: Path
    """The .txt file to write."""

    tokens: int = 20_000
    """Words, about; at least 1."""

    seed: int = 42
    """Fixes the text; at least 0."""

    def __post_init__(self) -> None:
        for flag, value, least in (("--tokens", self.tokens, 1), ("--seed", self.seed, 0)):
            if value < least:
                raise UserError(f"{flag} must be at least {least}; it is {value}.")


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a text holds, and how it is split when every byte is a token."""

    data: DataConfig = field(default_factory=DataConfig)

    window_size: Annotated[int, tyro.conf.arg(aliases=("--seq-len",))] = 6
    """Tokens of a window, W, at least 1."""

    def __post_init__(self) -> None:
        if self.window_size < 1:
            raise UserError(f"--window-size must be at least 1; it is {self.window_size}.")


@dataclass(frozen=True, kw_only=True)
class Hub:
    """Fetch a dataset of the Hugging Face hub, and say where its text is kept."""

    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        if self.data.dataset_source == "local":
            raise UserError(
                "A dataset must be named: --dataset-source tinystories, fineweb-edu, or hub with "
                "--hf-dataset OWNER/NAME."
            )


@dataclass(frozen=True, kw_only=True)
class CorpusOptions:
    """What `boggers corpus` takes."""

    do: Annotated[Synthetic | Hub | Info, tyro.conf.arg(name="")]


def run(argv: list[str]) -> None:
    """Write a synthetic text, fetch one, or look at one."""
    options = parse(
        CorpusOptions,
        argv,
        verb="corpus",
        description="Look at a text, make a synthetic one, or fetch one from the hub.",
    )
    if isinstance(options.do, Synthetic):
        _write_synthetic(options.do)
    elif isinstance(options.do, Hub):
        print(fetched(options.do.data, Console(stderr=True)))
    else:
        _tell(options.do)


def fetched(data: DataConfig, console: Console) -> Path:
    """The kept text of a hub dataset, read from there with a bar if it is not kept yet."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"fetching rows of {data.source}", total=data.hf_max_rows or None)
        return materialise(data, lambda done, total: bar.update(task, completed=done))


def _write_synthetic(options: Synthetic) -> None:
    texts = list(stories(options.tokens, options.seed))
    text = f"{SEPARATOR}\n".join(texts)
    write_text(options.out, text)
    words = sum(len(story.split()) for story in texts)
    print(
        f"{options.out}: {words:,} words in {len(texts):,} documents, "
        f"{len(text.encode('utf-8')):,} bytes."
    )


def _tell(options: Info) -> None:
    if options.data.dataset_source != "local":
        fetched(options.data, Console(stderr=True))
    contents = scan(options.data)
    n_tokens = contents.n_bytes + contents.n_documents - 1
    print(f"corpus={options.data.source}")
    print(f"bytes={contents.n_bytes}")
    print(f"documents={contents.n_documents}")
    print(f"sha256={contents.key}")
    print(f"With --tokenizer byte, {contents.n_documents - 1} separators included:")
    for line in split(n_tokens, options.data.val_fraction, options.window_size).report():
        print(f"  {line}")
