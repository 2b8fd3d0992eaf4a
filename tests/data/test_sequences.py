"""Sequences: pure functions of the seed and the epoch, every stretch once."""

import numpy as np
import pytest
import torch

from boggers.data.sequences import Sequences
from boggers.errors import UserError

IDS = np.arange(1000, dtype=np.uint16)
SEQUENCES = Sequences(IDS, 100, 900, 30)


def test_an_epoch_holds_every_stretch_once() -> None:
    for epoch in range(3):
        batches = [SEQUENCES.epoch_batch(7, epoch, index, 4) for index in range(7)]
        contexts = torch.cat([batch.contexts for batch in batches])
        targets = torch.cat([batch.targets for batch in batches])
        assert len(contexts) == len(SEQUENCES) == 25
        starts = contexts[:, 0].sort().values
        assert 100 <= starts[0] < 130
        assert torch.equal(starts.diff(), torch.full((24,), 30))
        assert torch.equal(contexts, contexts[:, :1] + torch.arange(30))
        assert torch.equal(targets, contexts + 1)
        assert targets.max() < 900


def test_the_order_and_the_cuts_follow_seed_and_epoch() -> None:
    def contexts(seed: int, epoch: int) -> list[int]:
        first: list[int] = SEQUENCES.epoch_batch(seed, epoch, 0, 25).contexts[:, 0].tolist()
        return first

    assert contexts(1, 0) == contexts(1, 0)
    assert contexts(1, 0) != contexts(2, 0)
    assert contexts(1, 0) != contexts(1, 1)
    assert len({min(contexts(1, epoch)) for epoch in range(10)}) > 3


def test_batches_of_a_run_go_on_across_epochs() -> None:
    run = torch.cat([SEQUENCES.batch(3, index, 10) for index in range(5)])
    epochs = [SEQUENCES.epoch_batch(3, epoch, 0, 25) for epoch in range(2)]
    assert run.shape == (50, 31)
    assert torch.equal(run[:, :-1], torch.cat([epoch.contexts for epoch in epochs]))
    assert torch.equal(run[:, 1:], torch.cat([epoch.targets for epoch in epochs]))


def test_an_epoch_ends() -> None:
    assert len(SEQUENCES.epoch_batch(0, 0, 2, 10).contexts) == 5
    with pytest.raises(IndexError):
        SEQUENCES.epoch_batch(0, 0, 3, 10)


def test_two_sequences_are_the_least() -> None:
    assert len(Sequences(IDS, 0, 60, 30)) == 1
    with pytest.raises(UserError, match="--sequence-length 30 needs at least 60"):
        Sequences(IDS, 0, 59, 30)
