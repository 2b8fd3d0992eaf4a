"""Small real runs that several rooms' tests look into."""

import random
from pathlib import Path
from typing import Any

from boggers.data.config import DataConfig
from boggers.model.stream import StreamConfig
from boggers.model.window import WindowConfig
from boggers.text.config import TextConfig
from boggers.train.loop import fit
from boggers.train.optim import OptimConfig
from boggers.train.prepare import prepare
from boggers.train.run import RunConfig, TrainConfig

WORDS = ["the", "Fox", "sees", "a", "réd", "hill", "and", "runs", "to", "Ann", "in", "rain"]
STREAM = StreamConfig(
    state_dim=16,
    num_stages=2,
    num_dynamics_steps=2,
    sequence_length=32,
    memory="recall",
    memory_patterns=12,
    num_waves=2,
    phrase_rows=64,
    phrase_width=8,
    succession_orders=2,
    succession_slots=64,
    recency=True,
)
WINDOW = WindowConfig(
    state_dim=16, num_waves=2, window_size=4, num_dynamics_steps=2, memory_patterns=12
)


def story(words: int, seed: int = 3) -> str:
    """A text of a few words in any order."""
    choose = random.Random(seed)
    return " ".join(choose.choice(WORDS) for _ in range(words)) + ".\n"


def train(
    folder: Path,
    model: StreamConfig | WindowConfig = STREAM,
    *,
    text: str | None = None,
    steps: int = 30,
    **train: Any,
) -> Path:
    """A run over a short text, byte by byte."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.txt"
    corpus.write_text(story(800) if text is None else text, encoding="utf-8")
    stream = isinstance(model, StreamConfig)
    config = RunConfig(
        architecture="stream" if stream else "window",
        model=model,
        text=TextConfig(tokenizer="byte"),
        data=DataConfig(corpus=str(corpus), cache_dir=folder / "cache", val_fraction=0.2),
        optim=OptimConfig(lr=1e-2),
        train=TrainConfig(
            out=folder / "run",
            device="cpu",
            batch_size=4 if stream else 64,
            max_steps=steps,
            **train,
        ),
    )
    prepared = prepare(config)
    fit(prepared, [], prepared.validate)
    return folder / "run"
