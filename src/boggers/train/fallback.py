"""Generated text in place of a missing or very short one, for those who ask for that."""

import dataclasses
from pathlib import Path

from boggers.data.corpus import contents
from boggers.data.tokens import tokenise
from boggers.data.vocabulary import tokenizer_for
from boggers.train.run import RunConfig

LEAST_CONTEXTS = 20
"""A text shorter than so many contexts is very short."""

LEAST_WORDS = 20_000
LONGEST_TOKEN = 16
"""Bytes; a text of more than LEAST_CONTEXTS · context · this is not counted out."""


def with_text(config: RunConfig, context: int) -> tuple[RunConfig, str | None]:
    """The configuration, its corpus generated if it must be, and the sentence that says so.

    Args:
        config: changed only with --synthetic-fallback.
        context: tokens of a window or a sequence.
    """
    data = config.data
    generates = data.corpus in ("synthetic", "sotu") or data.dataset_source != "local"
    if not data.synthetic_fallback or generates:
        return config, None
    named = None if data.corpus is None else Path(data.corpus).expanduser()
    if named is None or not named.exists():
        reason = "No corpus was named" if named is None else f"The corpus {named} does not exist"
    else:
        if contents(data).n_bytes > LEAST_CONTEXTS * context * LONGEST_TOKEN:
            return config, None
        tokens = len(tokenise(data, tokenizer_for(config.text, data)).ids)
        if tokens >= LEAST_CONTEXTS * context:
            return config, None
        reason = (
            f"The corpus {named} has {tokens} tokens, fewer than {LEAST_CONTEXTS} contexts of "
            f"{context}"
        )
    words = max(LEAST_WORDS, LEAST_CONTEXTS * context + 2000)
    generated = dataclasses.replace(
        data,
        corpus="synthetic",
        synthetic_tokens=words,
        streaming_dataset=True,
        epoch_copies=None,
        shuffle_buffer=None,
    )
    sentence = f"{reason}: generated sentences are used instead (--synthetic-fallback)."
    return dataclasses.replace(config, data=generated), sentence
