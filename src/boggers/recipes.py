"""Complete runs by name: each a function that returns a `RunConfig`.

A variant calls another recipe and replaces a part of it. The command line starts from a recipe
(`boggers train demo`) and lets a file and flags change it.
"""

import difflib
from collections.abc import Callable
from dataclasses import replace

from boggers.data.config import DataConfig
from boggers.errors import UserError
from boggers.model.stream import StreamConfig
from boggers.model.window import WindowConfig
from boggers.text.config import TextConfig
from boggers.train.loss_config import LossConfig
from boggers.train.optim import OptimConfig
from boggers.train.run import RunConfig, TrainConfig


def tiny() -> RunConfig:
    """A few seconds on synthetic text, byte by byte: shows that everything works, learns little."""
    return RunConfig(
        model=WindowConfig(state_dim=32, num_waves=2, window_size=4, memory_patterns=32),
        text=TextConfig(tokenizer="byte"),
        data=DataConfig(corpus="synthetic", max_corpus_bytes=20_000),
        optim=OptimConfig(lr=3e-3),
        train=TrainConfig(max_steps=60, batch_size=64),
    )


def window() -> RunConfig:
    """The window model at its usual small shape, for a megabyte or two; give it --corpus."""
    return RunConfig(
        text=TextConfig(tokenizer="bpe", vocab_size=2048),
        data=DataConfig(val_fraction=0.1),
        optim=OptimConfig(
            lr=3e-3,
            schedule="wsd",
            warmup_steps=200,
            decay_fraction=0.7,
            final_lr_fraction=0.01,
            betas=(0.9, 0.98),
            weight_decay=0.1,
            grad_clip=1.0,
        ),
        train=TrainConfig(max_epochs=8, batch_size=256),
    )


def stream_small() -> RunConfig:
    """The stream model with about a million weights besides the table, for a processor."""
    return RunConfig(
        architecture="stream",
        model=StreamConfig(
            state_dim=128,
            num_stages=6,
            memory_patterns=176,
            phrase_rows=8192,
            phrase_width=16,
            phrase_hashes=2,
            succession_orders=3,
            recency=True,
        ),
        text=TextConfig(tokenizer="bpe", vocab_size=2048),
        data=DataConfig(val_fraction=0.05),
        optim=OptimConfig(
            optimizer="muon",
            lr=4e-3,
            muon_lr=0.01,
            embedding_lr=0.01,
            schedule="wsd",
            warmup_steps=10,
            decay_fraction=0.4,
            betas=(0.9, 0.95),
            weight_decay=0.1,
            embedding_decay=0.0,
            phrase_decay=0.1,
            grad_clip=1.0,
        ),
        train=TrainConfig(batch_tokens=2048),
    )


def demo() -> RunConfig:
    """A few minutes on a processor: a stream reads two centuries of presidential addresses once."""
    small = stream_small()
    return replace(
        small,
        model=replace(small.model, num_stages=4, memory_patterns=256),  # type: ignore[arg-type]
        data=replace(small.data, corpus="sotu"),
        train=replace(small.train, max_steps=1300),
    )


def stream_base() -> RunConfig:
    """The stream model with about 17 million weights besides the table, for a GPU."""
    small = stream_small()
    return replace(
        small,
        model=StreamConfig(
            state_dim=512,
            num_stages=8,
            memory_patterns=768,
            sequence_length=512,
            succession_orders=3,
            succession_slots=16_384,
            recency=True,
        ),
        text=replace(small.text, vocab_size=8192),
        # What the small recipe has gained by twice this rate was not tried at this size.
        optim=replace(small.optim, lr=2e-3, warmup_steps=100),
        train=replace(small.train, batch_tokens=65_536),
    )


def stream_large() -> RunConfig:
    """The stream model with about 150 million weights besides the table, for a large GPU."""
    base = stream_base()
    return replace(
        base,
        model=StreamConfig(
            state_dim=1024,
            num_stages=16,
            memory_patterns=2048,
            sequence_length=1024,
            succession_orders=3,
            succession_slots=16_384,
            recency=True,
        ),
        text=replace(base.text, vocab_size=32_768),
        optim=replace(base.optim, warmup_steps=300),
        train=replace(base.train, batch_tokens=262_144),
    )


def a1() -> RunConfig:
    """The original's first recipe, ten epochs of a slice of stories; give it --corpus.

    Its physics are the original's but for the breaks, which threw every window at every step.
    """
    return RunConfig(
        model=_original_window(state_dim=128, num_waves=4, window_size=8, steps=32),
        text=TextConfig(tokenizer="tiktoken", vocab_cap=8192),
        data=DataConfig(val_fraction=0.1),
        loss=LossConfig(loss_mode="trajectory"),
        optim=OptimConfig(lr=1e-3, grad_clip=1.0, lr_decay_every=5, lr_gamma=0.8),
        train=TrainConfig(max_epochs=10, batch_size=64, save_every=500),
    )


def a1b() -> RunConfig:
    """The original's first recipe for three epochs: a quick look; give it --corpus."""
    first = a1()
    return replace(first, train=replace(first.train, max_epochs=3))


def a1c() -> RunConfig:
    """The original's first recipe with more weight on tokens and a lower rate; give it --corpus."""
    first = a1()
    return replace(
        first,
        model=_original_window(state_dim=128, num_waves=4, window_size=8, steps=16),
        loss=replace(first.loss, token_auxiliary_weight=0.5),
        optim=OptimConfig(lr=3e-4, grad_clip=1.0),
        train=replace(first.train, max_epochs=5, batch_size=32, save_every=None),
    )


def a2() -> RunConfig:
    """The original's larger recipe: its own size, fifty epochs of stories; give it --corpus."""
    first = a1()
    return replace(
        first,
        model=_original_window(state_dim=512, num_waves=8, window_size=6, steps=32),
        text=replace(first.text, vocab_cap=32_768),
        optim=OptimConfig(lr=1e-3, lr_decay_every=15, lr_gamma=0.7),
        train=replace(first.train, max_epochs=50, save_every=None),
    )


def _original_window(
    *, state_dim: int, num_waves: int, window_size: int, steps: int
) -> WindowConfig:
    """The original's physics, working: small steps in wave energies, and heads that drift."""
    return WindowConfig(
        state_dim=state_dim,
        num_waves=num_waves,
        window_size=window_size,
        num_dynamics_steps=steps,
        energy_step=0.09,
        wave_energy=True,
        memory_patterns=None,
        wave_coupling=False,
        readout="flat",
        single_state_head=True,
        embedding_dropout=0.0,
        readout_dropout=0.0,
        dynamics="vectorized",
        vectorized_num_heads=4,
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "tiny": tiny,
    "demo": demo,
    "window": window,
    "stream-small": stream_small,
    "stream-base": stream_base,
    "stream-large": stream_large,
    "a1": a1,
    "a1b": a1b,
    "a1c": a1c,
    "a2": a2,
}
"""Every recipe by its name on the command line."""


def recipe(name: str) -> RunConfig:
    """The run that a recipe's name means.

    Raises:
        UserError: there is no recipe of that name.
    """
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise UserError(f"There is no recipe {name!r}. {hint}The recipes are {', '.join(RECIPES)}.")
    return RECIPES[name]()
