"""Small budgets, and who can be built here."""

import importlib.util

import pytest

from boggers.evals.contest import Budget, Contestant
from boggers.evals.contestants import CONTESTANTS

NEEDS_TRANSFORMERS = {"llama", "mamba"}


@pytest.fixture
def budget() -> Budget:
    return Budget(vocab_size=50, sequence_length=32, non_embedding=100_000, layers=2)


@pytest.fixture(params=list(CONTESTANTS))
def contestant(request: pytest.FixtureRequest) -> Contestant:
    if request.param in NEEDS_TRANSFORMERS and importlib.util.find_spec("transformers") is None:
        pytest.skip("needs the extra bench: transformers is not installed")
    return CONTESTANTS[request.param]
