"""Bytes as tokens: 256 ids and a separator, no file, no training, nothing lost."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from boggers.text.base import Ids, Tokenizer

SEPARATOR = 256


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes are the ids 0 to 255; 256 parts documents."""

    kind: ClassVar[str] = "byte"
    vocab_size = 257
    separator_id = SEPARATOR

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[Ids, Ids]]:
        encoded = []
        for text in texts:
            ids = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64)
            encoded.append((ids, np.ones_like(ids)))
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if i != SEPARATOR).decode("utf-8", errors="replace")

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind}
