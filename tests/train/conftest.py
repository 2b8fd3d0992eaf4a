import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from boggers.data.config import DataConfig
from boggers.text.config import TextConfig

from boggers.model.window import WindowConfig
from boggers.train.run import RunConfig, TrainConfig

MakeConfig = Callable[..., RunConfig]

PARTS = ("model", "text", "data", "loss", "optim", "train")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """About 900 bytes: 26 steps of 32 windows an epoch, the last of them smaller."""
    words = [
        "the",
        "fox",
        "sees",
        "a",
        "red",
        "hill",
        "and",
        "runs",
        "to",
        "it",
        "while",
        "rain",
        "falls",
    ]
    choose = random.Random(7)
    path = tmp_path / "corpus.txt"
    path.write_text(" ".join(choose.choice(words) for _ in range(240)) + ".\n")
    return path


@pytest.fixture
def make_config(tmp_path: Path, corpus: Path) -> MakeConfig:
    """A tiny run by its settings, whatever part they belong to: `make_config(seed=3, lr=0.1)`."""

    def make(**settings: Any) -> RunConfig:
        config = RunConfig(
            model=WindowConfig(state_dim=8, num_waves=2, window_size=4, num_dynamics_steps=2),
            text=TextConfig(tokenizer="byte"),
            data=DataConfig(corpus=str(corpus), cache_dir=tmp_path / "cache", val_fraction=0.1),
            train=TrainConfig(
                out=tmp_path / "run", device="cpu", batch_size=32, max_epochs=1, log_every=4
            ),
        )
        for name, value in settings.items():
            (part,) = [p for p in PARTS if name in getattr(config, p).__dataclass_fields__]
            changed = dataclasses.replace(getattr(config, part), **{name: value})
            config = dataclasses.replace(config, **{part: changed})
        return config

    return make
