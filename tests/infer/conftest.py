"""A small engine that speaks bytes."""

import pytest
import torch

from boggers.infer.engine import Engine
from boggers.model.window import WindowConfig, WindowModel
from boggers.text.byte import ByteTokenizer


@pytest.fixture
def engine() -> Engine:
    config = WindowConfig(state_dim=16, num_waves=2, window_size=4, num_dynamics_steps=3)
    model = WindowModel(config, 257, torch.Generator().manual_seed(0))
    return Engine(model, ByteTokenizer())
