"""The decayed sum against its own definition: values, gradients, causality, stretches."""

import pytest
import torch
from torch import Tensor

from boggers.field.scan import decayed_sum


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sequences(length: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Decays of half-lives from 1 to 10,000 positions, channel by channel, and random inputs."""
    spans = torch.logspace(0, 4, 6, dtype=dtype)
    wobble = torch.rand(3, length, 6, generator=generator(), dtype=dtype)
    decay = torch.exp(-(0.5 + wobble) / spans)
    return decay, torch.randn(3, length, 6, generator=generator(1), dtype=dtype)


def one_by_one(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    carried, summed = initial, []
    for t in range(inputs.shape[1]):
        carried = decay[:, t] * carried + inputs[:, t]
        summed.append(carried)
    return torch.stack(summed, dim=1)


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 250, 8192])
def test_all_at_once_equals_one_by_one(length: int) -> None:
    decay, inputs = sequences(length)
    initial = torch.randn(3, 6, generator=generator(2))
    expected = one_by_one(decay, inputs, initial)
    error = (decayed_sum(decay, inputs, initial) - expected).abs().amax(dim=(0, 1))
    assert (error <= 1e-5 * expected.abs().amax(dim=(0, 1))).all()


def test_without_a_past_the_sum_starts_at_zero() -> None:
    decay, inputs = sequences(9)
    assert torch.equal(decayed_sum(decay, inputs)[:, 0], inputs[:, 0])


def test_the_gradients_are_exact() -> None:
    decay, inputs = (x.requires_grad_() for x in sequences(11, torch.float64))
    initial = torch.randn(3, 6, generator=generator(2), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(decayed_sum, (decay, inputs, initial))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_change_reaches_no_earlier_position(dtype: torch.dtype) -> None:
    decay, inputs = (x.to(dtype) for x in sequences(37))
    before = decayed_sum(decay, inputs)
    for t in range(37):
        changed_decay, changed_inputs = decay.clone(), inputs.clone()
        changed_decay[:, t], changed_inputs[:, t] = 0.0, 1e30
        after = decayed_sum(changed_decay, changed_inputs)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.equal(after[:, t:], before[:, t:])


def test_two_stretches_equal_one() -> None:
    decay, inputs = sequences(100)
    whole = decayed_sum(decay, inputs)
    first = decayed_sum(decay[:, :41], inputs[:, :41])
    second = decayed_sum(decay[:, 41:], inputs[:, 41:], first[:, -1])
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=1e-5, atol=1e-5)


def test_the_extremes_stay_finite() -> None:
    inputs = torch.ones(1, 3000, 2)
    decay = torch.tensor([0.0, 1.0]).expand(1, 3000, 2)
    summed = decayed_sum(decay, inputs)
    assert torch.equal(summed[0, :, 0], torch.ones(3000))
    assert torch.equal(summed[0, :, 1], torch.arange(1, 3001.0))


def test_a_row_is_summed_as_if_it_were_alone() -> None:
    decay, inputs = sequences(50)
    together = decayed_sum(decay, inputs)
    for row in range(3):
        alone = decayed_sum(decay[row : row + 1], inputs[row : row + 1])
        assert torch.equal(alone[0], together[row])
