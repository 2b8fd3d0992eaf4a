"""What a folded vocabulary costs, said at the start of a run."""

from boggers.text.gpt2 import FULL, GPT2Tokenizer


def folding_report(tokenizer: GPT2Tokenizer, sample: str) -> str:
    """One sentence on how much of a sample is folded; the sample should be some of the corpus."""
    whole = GPT2Tokenizer(0).encode_with_bytes(sample)[0]
    folded = int((whole >= tokenizer.vocab_size).sum())
    share = 100.0 * folded / max(1, len(whole))
    return (
        f"{FULL - tokenizer.vocab_size:,} of GPT-2's {FULL:,} ids are folded onto the first "
        f"{tokenizer.vocab_size:,}: {folded:,} of {len(whole):,} sampled tokens ({share:.1f} %). "
        "Decoding is lossy: different words share an id."
    )
