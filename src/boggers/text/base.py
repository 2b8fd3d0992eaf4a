"""What every tokenizer can do."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from boggers.errors import UserError
from boggers.files import write_json

Ids = NDArray[np.int64]

DEFINITION = "tokenizer.json"


def fingerprint_of(definition: Mapping[str, Any]) -> str:
    """SHA-256 of a definition, whatever the order of its keys."""
    canonical = json.dumps(definition, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


class Tokenizer(ABC):
    """Cuts text into ids from 0 to `vocab_size - 1`.

    Attributes:
        kind: the name of the method, as `--tokenizer` takes it.
        vocab_size: V.
        separator_id: an id between documents that no text can produce; None if there is none.
        lossy: whether ids are folded, so that decoding cannot restore the text.
    """

    kind: ClassVar[str]
    vocab_size: int
    separator_id: int | None
    lossy: bool = False

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[tuple[Ids, Ids]]:
        """For every text its ids and the UTF-8 bytes each id stands for.

        The byte counts of a text add up to its length in UTF-8, whatever the ids say.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; separators vanish, broken UTF-8 becomes U+FFFD."""

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """Everything that fixes encoding and decoding, as a JSON object."""

    def encode_with_bytes(self, text: str) -> tuple[Ids, Ids]:
        """The ids of one text and the bytes each stands for.

        Raises:
            UserError: UTF-8 cannot write the text (half of a surrogate pair, as in an argument
                whose bytes are not UTF-8).
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(
                "Text must consist of characters that UTF-8 can write, but character "
                f"{error.start} is {text[error.start]!r}. Leave it out."
            ) from error
        return self.encode_batch([text])[0]

    def encode(self, text: str) -> list[int]:
        """The ids of one text; never a separator."""
        return [int(i) for i in self.encode_with_bytes(text)[0]]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the definition: equal only for tokenizers that behave alike."""
        return fingerprint_of(self.definition())

    def save(self, folder: Path) -> None:
        """Write the definition into `folder`."""
        write_json(folder / DEFINITION, {**self.definition(), "fingerprint": self.fingerprint})
