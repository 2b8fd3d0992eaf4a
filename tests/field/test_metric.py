"""The metric: it may turn a force, never against itself."""

import torch

from boggers.field.memory import RecallMemory
from boggers.field.metric import Metric, TurningMetric


def test_turning_does_no_work() -> None:
    metric = TurningMetric(8, 3).double()
    for parameter in metric.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    force = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for step in range(3):
        work = (force * metric(force, step)).sum(-1)
        torch.testing.assert_close(work, metric.rate(step) * force.square().sum(-1))
        assert 0 < metric.rate(step) < 2


def test_the_first_step_is_the_force_turned_by_an_eighth() -> None:
    force = torch.tensor([[[1.0, 0.0]]])
    assert torch.equal(TurningMetric(2, 1)(force, 0), torch.tensor([[[1.0, -1.0]]]))
    assert torch.equal(Metric(1)(force, 0), force)


def test_steps_beyond_the_learned_ones_repeat_the_last_half_as_far_each_time() -> None:
    metric = TurningMetric(4, 2)
    metric.circulation.data[2:] = 0.3
    force = torch.ones(1, 1, 4)
    assert not torch.equal(metric(force, 1), metric(force, 0))
    for beyond in (2, 3, 7):
        torch.testing.assert_close(metric(force, beyond), 0.5 ** (beyond - 1) * metric(force, 1))
        torch.testing.assert_close(Metric(2)(force, beyond), 0.5 ** (beyond - 1) * force)


def test_steps_beyond_k_that_are_trained_feel_less_of_the_past_at_first() -> None:
    metric, felt = Metric(2, further=2), torch.ones(1, 1, 4)
    assert metric.learned == 4
    assert [float(metric.felt(felt, step).max().detach()) for step in range(4)] == [1, 1, 0.5, 0.25]
    metric.felt(felt, 3).sum().backward()
    assert metric.gain is not None
    assert metric.gain.grad is not None
    assert metric.gain.grad.tolist() == [0, 4]


def test_further_steps_begin_half_as_far_each_time() -> None:
    metric = TurningMetric(4, 2, further=2)
    force = torch.ones(1, 1, 4)
    for step, share in enumerate((1.0, 1.0, 0.5, 0.25, 0.125)):
        torch.testing.assert_close(metric(force, step), share * metric(force, 0))
    memory = RecallMemory(4, 3, 2, torch.Generator(), further=2)
    torch.testing.assert_close(2 * memory.depth.sigmoid(), torch.tensor([1.0, 1.0, 0.5, 0.25]))
