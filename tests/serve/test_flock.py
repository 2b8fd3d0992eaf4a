"""A text comes out the same to the last bit in whatever row of a batch it is."""

import pytest
import torch

from boggers.infer.engine import Engine
from boggers.model.stream import StreamConfig, StreamModel
from boggers.model.window import WindowConfig, WindowModel
from boggers.serve.dials import dials_for
from boggers.serve.flock import driver_for
from boggers.text.byte import ByteTokenizer

from .conftest import noisy

ROWS = (8, 16, 24, 40, 64)
TEXT = (5, 77, 5, 77, 200, 13)


@pytest.mark.parametrize("state_dim", [12, 20, 64])
@pytest.mark.parametrize("basins", [1, 2, 3])
def test_every_row_of_equal_streams_has_the_same_bits(state_dim: int, basins: int) -> None:
    config = StreamConfig(
        state_dim=state_dim,
        num_stages=2,
        num_waves=2,
        num_dynamics_steps=2,
        memory_patterns=8,
        num_basins=basins,
        fast_values=True,
    )
    model = noisy(StreamModel(config, 257, torch.Generator().manual_seed(0)))
    assert_rows_agree(model)


def test_every_row_of_equal_windows_has_the_same_bits() -> None:
    config = WindowConfig(state_dim=16, num_waves=2, window_size=4, num_dynamics_steps=3)
    assert_rows_agree(noisy(WindowModel(config, 257, torch.Generator().manual_seed(0))))


def assert_rows_agree(model: StreamModel | WindowModel) -> None:
    """Many copies of one text are one text: all logits and all of the physics are equal."""
    model = Engine(model, ByteTokenizer()).model
    driver = driver_for(model, dials_for(model, None, None, None))
    wanted = None
    for rows in ROWS:
        flock = driver.flock()
        for _ in range(rows):
            flock.add(driver.start())
        with torch.inference_mode():
            steps = [flock.step([token] * rows, measure=True) for token in TEXT]
        for step in steps:
            assert step.physics is not None
            assert step.physics == step.physics[:1] * rows
            assert torch.equal(step.logits, step.logits[:1].expand_as(step.logits))
        first = [(step.logits[0].tolist(), step.physics[0]) for step in steps if step.physics]
        assert wanted in (None, first)
        wanted = first
