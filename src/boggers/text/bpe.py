"""Byte-level byte-pair encoding, trained on the corpus (Sennrich et al. 2016)."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, trainers

from boggers.errors import UserError
from boggers.text.base import Ids, Tokenizer

SMALLEST, LARGEST = 512, 50_000


def check_vocab_size(vocab_size: int) -> None:
    """Refuse a vocabulary that byte pairs are not trained for.

    Raises:
        UserError: it is below 512 or above 50,000.
    """
    if not SMALLEST <= vocab_size <= LARGEST:
        raise UserError(
            f"--vocab-size must be from {SMALLEST} to {LARGEST:,}, {vocab_size:,} came. "
            "Choose a vocabulary in that range."
        )


class BytePairTokenizer(Tokenizer):
    """Merges frequent byte pairs; the last id parts documents.

    The separator is an id that the encoder does not know, so no text can spell it.
    """

    kind: ClassVar[str] = "bpe"

    def __init__(self, engine: Engine, written: dict[str, Any] | None = None) -> None:
        """`written` is the engine as JSON: what was loaded, so that it stays what it was even
        if another version of `tokenizers` writes it differently."""
        self._engine = engine
        self._written: dict[str, Any] = written or json.loads(engine.to_str())
        merged = engine.get_vocab_size()
        self.separator_id: int = merged
        self.vocab_size = merged + 1
        # A byte-level piece is spelled with one character per byte.
        self._bytes = np.zeros(self.vocab_size, dtype=np.int64)
        for piece, index in engine.get_vocab().items():
            self._bytes[index] = len(piece)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "BytePairTokenizer":
        """Learn `vocab_size - 1` pieces from texts; the same texts give the same pieces.

        Raises:
            UserError: the vocabulary is out of range, or larger than the texts can fill.
        """
        check_vocab_size(vocab_size)
        engine = Engine(models.BPE())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        engine.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        engine.train_from_iterator(texts, trainer)
        made = cls(engine)
        if made.vocab_size < vocab_size:
            smaller = f"--vocab-size {made.vocab_size} or less, "
            raise UserError(
                f"--vocab-size {vocab_size:,} needs more text: this corpus gives "
                f"{made.vocab_size:,} entries. "
                f"Use {smaller if made.vocab_size >= SMALLEST else ''}"
                "--tokenizer byte, or more text."
            )
        return made

    @classmethod
    def from_definition(cls, definition: dict[str, Any]) -> "BytePairTokenizer":
        """The tokenizer that `definition` describes."""
        written = definition["engine"]
        return cls(Engine.from_str(json.dumps(written)), written)

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[Ids, Ids]]:
        encoded = []
        for found in self._engine.encode_batch_fast(list(texts)):
            ids = np.asarray(found.ids, dtype=np.int64)
            encoded.append((ids, self._bytes[ids]))
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._engine.decode([i for i in ids if i != self.separator_id])
        return text

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind, "engine": self._written}
