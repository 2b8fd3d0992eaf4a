"""The metric: it may turn a force, never against itself."""

import torch

from boggers.field.metric import Metric


def test_turning_does_no_work() -> None:
    metric = Metric(8, 3, circulating=True).double()
    for parameter in metric.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    force = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for step in range(3):
        work = (force * metric(force, step)).sum(-1)
        torch.testing.assert_close(work, metric.rate(step) * force.square().sum(-1))
        assert 0 < metric.rate(step) < 2


def test_the_first_step_is_the_force_turned_by_an_eighth() -> None:
    force = torch.tensor([[[1.0, 0.0]]])
    assert torch.equal(Metric(2, 1, circulating=True)(force, 0), torch.tensor([[[1.0, -1.0]]]))
    assert torch.equal(Metric(2, 1, circulating=False)(force, 0), force)


def test_steps_beyond_the_learned_ones_repeat_the_last_half_as_far_each_time() -> None:
    metric = Metric(4, 2, circulating=True)
    metric.circulation.data[2:] = 0.3  # type: ignore[union-attr]
    force = torch.ones(1, 1, 4)
    assert not torch.equal(metric(force, 1), metric(force, 0))
    for beyond in (2, 3, 7):
        torch.testing.assert_close(metric(force, beyond), 0.5 ** (beyond - 1) * metric(force, 1))
