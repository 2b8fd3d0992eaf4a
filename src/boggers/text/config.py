"""Which tokenizer a run speaks."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from boggers.text.base import Tokenizer
from boggers.text.bpe import BytePairTokenizer, check_vocab_size
from boggers.text.byte import ByteTokenizer
from boggers.text.gpt2 import FallbackTokenizer, GPT2Tokenizer, check_vocab_cap


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How text becomes ids."""

    tokenizer: Literal["bpe", "byte", "tiktoken", "fallback"] = "bpe"
    """bpe: trained on the corpus; byte: UTF-8 bytes; tiktoken: GPT-2's ids below --vocab-cap, the
    others folded; fallback: the same folded onto at most 512."""

    vocab_size: int = 4096
    """Vocabulary of bpe, from 512 to 50,000."""

    vocab_cap: int = 32768
    """Ids that tiktoken and fallback keep; larger ones fold by id mod cap; 0 keeps all."""

    def __post_init__(self) -> None:
        check_vocab_size(self.vocab_size)
        check_vocab_cap(self.vocab_cap)


def build_tokenizer(config: TextConfig, texts: Iterable[str]) -> Tokenizer:
    """Make the tokenizer; only bpe reads the texts, which should be training text alone.

    Raises:
        UserError: the options do not fit the method or the text; an extra is missing.
    """
    if config.tokenizer == "bpe":
        return BytePairTokenizer.train(texts, config.vocab_size)
    if config.tokenizer == "byte":
        return ByteTokenizer()
    if config.tokenizer == "tiktoken":
        return GPT2Tokenizer(config.vocab_cap)
    return FallbackTokenizer(config.vocab_cap)
