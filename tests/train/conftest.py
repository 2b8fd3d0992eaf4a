import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boggers.data.config import DataConfig
from boggers.model.window import WindowConfig
from boggers.text.config import TextConfig
from boggers.train.run import RunConfig, TrainConfig

MakeConfig = Callable[..., RunConfig]

PARTS = ("model", "text", "data", "loss", "optim", "train", "parallel", "record")


@pytest.fixture(scope="session")
def make_config_in() -> Callable[[Path], MakeConfig]:
    """What makes the configurations of tiny runs inside a folder, over about 900 bytes of text."""

    def within(folder: Path) -> MakeConfig:
        words = ["the", "fox", "sees", "a", "red", "hill", "and", "runs", "to", "it", "in", "rain"]
        choose = random.Random(7)
        corpus = folder / "corpus.txt"
        corpus.write_text(" ".join(choose.choice(words) for _ in range(240)) + ".\n")

        def make(**settings: Any) -> RunConfig:
            config = RunConfig(
                model=WindowConfig(state_dim=8, num_waves=2, window_size=4, num_dynamics_steps=2),
                text=TextConfig(tokenizer="byte"),
                data=DataConfig(corpus=str(corpus), cache_dir=folder / "cache", val_fraction=0.1),
                train=TrainConfig(
                    out=folder / "run", device="cpu", batch_size=32, max_epochs=1, log_every=4
                ),
            )
            for name, value in settings.items():
                (part,) = [p for p in PARTS if name in getattr(config, p).__dataclass_fields__]
                changed = dataclasses.replace(getattr(config, part), **{name: value})
                config = dataclasses.replace(config, **{part: changed})
            return config

        return make

    return within


@pytest.fixture
def make_config(tmp_path: Path, make_config_in: Callable[[Path], MakeConfig]) -> MakeConfig:
    """A tiny run by its settings, whatever part they belong to: `make_config(seed=3, lr=0.1)`."""
    return make_config_in(tmp_path)


@pytest.fixture
def corpus(tmp_path: Path, make_config: MakeConfig) -> Path:
    """The text that those runs are trained on."""
    return tmp_path / "corpus.txt"
