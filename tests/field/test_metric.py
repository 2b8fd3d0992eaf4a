"""The metric: it may turn a force, never against itself."""

import torch

from boggers.field.metric import Metric


def test_turning_does_no_work() -> None:
    metric = Metric(8, 3).double()
    torch.nn.init.normal_(metric.circulation, generator=torch.Generator().manual_seed(0))
    force = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for step in range(3):
        work = (force * metric(force, step)).sum(-1)
        torch.testing.assert_close(work, metric.rate(step) * force.square().sum(-1))


def test_the_first_step_is_the_force_turned_by_an_eighth() -> None:
    metric = Metric(2, 1)
    moved = metric(torch.tensor([[[1.0, 0.0]]]), 0)
    assert torch.equal(moved, torch.tensor([[[1.0, -1.0]]]))


def test_steps_beyond_the_learned_ones_repeat_the_last() -> None:
    metric = Metric(4, 2)
    force = torch.ones(1, 1, 4)
    assert torch.equal(metric(force, 7), metric(force, 1))
    assert not torch.equal(metric(force, 1), metric(force, 0))
