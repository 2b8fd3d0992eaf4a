"""What every test stands on: one thread, so that numbers do not depend on the machine."""

from pathlib import Path

import pytest
import torch

from .runs import STREAM, WINDOW, train

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def stream_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the stream model; tests that change it work on a copy."""
    return train(tmp_path_factory.mktemp("stream"), STREAM)


@pytest.fixture(scope="session")
def window_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the window model; tests that change it work on a copy."""
    return train(tmp_path_factory.mktemp("window"), WINDOW)


@pytest.fixture(scope="session", params=["stream", "window"])
def any_run(request: pytest.FixtureRequest) -> Path:
    """Either of them."""
    run: Path = request.getfixturevalue(f"{request.param}_run")
    return run
