"""Tokenizers on disk, recognised by their fingerprints."""

from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.files import read_json
from boggers.text.base import DEFINITION, Tokenizer, fingerprint_of
from boggers.text.bpe import BytePairTokenizer
from boggers.text.byte import ByteTokenizer
from boggers.text.gpt2 import FallbackTokenizer, GPT2Tokenizer


def load_tokenizer(folder: Path, expected_fingerprint: str | None = None) -> Tokenizer:
    """The tokenizer saved in a folder.

    Args:
        folder: what `Tokenizer.save` wrote.
        expected_fingerprint: that of the tokenizer a model was trained with.

    Raises:
        UserError: the folder holds none, it has been changed, or it is not the expected one.
    """
    path = folder / DEFINITION
    if not path.is_file():
        raise UserError(f"{folder} holds no tokenizer: {DEFINITION} is missing.")
    definition = read_json(path)
    if not isinstance(definition, dict) or "kind" not in definition:
        raise UserError(f"{path} must describe a tokenizer, but does not. Restore it from a copy.")
    # Checked before anything is built from it: what a machine wrote is well-formed.
    fingerprint = definition.pop("fingerprint", None)
    if fingerprint != fingerprint_of(definition):
        raise UserError(f"{path} has been changed since it was saved. Restore it from a copy.")
    if expected_fingerprint not in (None, fingerprint):
        raise UserError(
            f"{folder} holds another tokenizer than the one the model was trained with. "
            "Use the run's own tokenizer."
        )
    return _restore(definition, path)


def _restore(definition: dict[str, Any], path: Path) -> Tokenizer:
    kind = definition.get("kind")
    if kind == "byte":
        return ByteTokenizer()
    if kind == "bpe" and isinstance(definition.get("engine"), dict):
        return BytePairTokenizer.from_definition(definition)
    cap = definition.get("cap")
    if kind == "tiktoken" and isinstance(cap, int):
        return GPT2Tokenizer(cap)
    if kind == "fallback" and isinstance(cap, int):
        return FallbackTokenizer(cap)
    raise UserError(f"{path} describes no tokenizer that this version knows ({kind!r}).")
