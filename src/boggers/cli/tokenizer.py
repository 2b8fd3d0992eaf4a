"""`boggers tokenizer`: train one on a text, see how it cuts a text, or what it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from boggers.cli.parse import parse
from boggers.data.config import DataConfig
from boggers.data.corpus import training_documents
from boggers.errors import UserError
from boggers.text.base import DEFINITION, Tokenizer
from boggers.text.config import TextConfig, build_tokenizer
from boggers.text.store import load_tokenizer

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Make a tokenizer and save it; bpe learns from the text that is not held out."""

    out: Path
    """The folder to write."""

    text: TextConfig = field(default_factory=TextConfig)

    data: DataConfig = field(default_factory=DataConfig)


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Show the tokens of a text: id, bytes, what it decodes to."""

    folder: Folder
    """A tokenizer's folder, such as the one in a run."""

    given: Annotated[str, tyro.conf.Positional, tyro.conf.arg(name="text", metavar="TEXT")]
    """The text."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a tokenizer is."""

    folder: Folder
    """A tokenizer's folder, such as the one in a run."""


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """What `boggers tokenizer` takes."""

    do: Annotated[Train | Encode | Info, tyro.conf.arg(name="")]


def run(argv: list[str]) -> None:
    """Make a tokenizer, use it, or look at it."""
    options = parse(
        TokenizerOptions,
        argv,
        verb="tokenizer",
        description="Train a tokenizer on a text, or see how one cuts a text.",
    )
    if isinstance(options.do, Train):
        _train(options.do)
    elif isinstance(options.do, Encode):
        _encode(load_tokenizer(options.do.folder), options.do.given)
    else:
        _tell(load_tokenizer(options.do.folder))


def _train(options: Train) -> None:
    if (options.out / DEFINITION).exists():
        raise UserError(
            f"--out must name a folder without a tokenizer, but {options.out} holds one. "
            "Name another folder, or remove it."
        )
    learns = options.text.tokenizer == "bpe"
    tokenizer = build_tokenizer(
        options.text, training_documents(options.data) if learns else iter(())
    )
    tokenizer.save(options.out)
    print(f"{options.out}:")
    _tell(tokenizer)


def _encode(tokenizer: Tokenizer, text: str) -> None:
    ids, lengths = tokenizer.encode_with_bytes(text)
    for index, length in zip(ids.tolist(), lengths.tolist(), strict=True):
        print(f"{index:>6}  {length:>2}  {tokenizer.decode([index])!r}")
    n_bytes = int(lengths.sum())
    rate = f", {n_bytes / len(ids):.2f} bytes a token" if len(ids) > 0 else ""
    print(f"{len(ids)} tokens, {n_bytes} bytes{rate}")
    if tokenizer.decode(ids.tolist()) != text:
        print("The tokens decode to another text: ids are folded, which cannot be undone.")


def _tell(tokenizer: Tokenizer) -> None:
    print(f"tokenizer={tokenizer.kind}")
    print(f"vocabulary={tokenizer.vocab_size}")
    print(f"separator={tokenizer.separator_id}")
    print(f"lossy={'yes, ids are folded' if tokenizer.lossy else 'no'}")
    print(f"fingerprint={tokenizer.fingerprint}")
