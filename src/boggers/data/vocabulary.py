"""A tokenizer that was learned from a text, kept beside the text's tokens."""

import hashlib
import json

import tokenizers

from boggers.data.config import DataConfig
from boggers.data.corpus import contents, training_documents
from boggers.errors import UserError
from boggers.text.base import Tokenizer
from boggers.text.config import TextConfig, build_tokenizer
from boggers.text.store import load_tokenizer


def tokenizer_for(text: TextConfig, data: DataConfig) -> Tokenizer:
    """The tokenizer that a configuration names; bpe learns from the training text, once.

    What it learned is kept under what it was learned from: the text, the share of it and the
    version of the library that learns.

    Raises:
        UserError: the options do not fit the method or the text; an extra is missing.
    """
    if text.tokenizer != "bpe":
        return build_tokenizer(text, iter(()))
    learned_from = {
        "corpus": contents(data).key,
        "val_fraction": data.val_fraction,
        "bytes": data.tokenizer_bytes,
        "vocab_size": text.vocab_size,
        "library": tokenizers.__version__,
    }
    name = hashlib.sha256(json.dumps(learned_from).encode("ascii")).hexdigest()
    folder = data.cache_folder / "bpe" / name
    try:
        return load_tokenizer(folder)
    except UserError:  # absent, or damaged: it is learned anew
        tokenizer = build_tokenizer(text, training_documents(data))
    tokenizer.save(folder)
    return tokenizer
