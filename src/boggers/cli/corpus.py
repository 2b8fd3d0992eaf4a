"""`boggers corpus`: what a text holds and how it would be split, or a synthetic text."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from boggers.cli.parse import parse
from boggers.data.config import DataConfig
from boggers.data.corpus import scan
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
class CorpusOptions:
    """What `boggers corpus` takes."""

    do: Annotated[Synthetic | Info, tyro.conf.arg(name="")]


def run(argv: list[str]) -> None:
    """Write a synthetic text, or look at one."""
    options = parse(
        CorpusOptions,
        argv,
        verb="corpus",
        description="Look at a text, or make a synthetic one.",
    )
    if isinstance(options.do, Synthetic):
        _write_synthetic(options.do)
    else:
        _tell(options.do)


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
    contents = scan(options.data)
    n_tokens = contents.n_bytes + contents.n_documents - 1
    print(f"corpus={options.data.corpus}")
    print(f"bytes={contents.n_bytes}")
    print(f"documents={contents.n_documents}")
    print(f"sha256={contents.key}")
    print(f"With --tokenizer byte, {contents.n_documents - 1} separators included:")
    for line in split(n_tokens, options.data.val_fraction, options.window_size).report():
        print(f"  {line}")
