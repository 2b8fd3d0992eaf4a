"""Unit states: torch's own normalisation, and its gradient."""

import pytest
import torch
import torch.nn.functional as F

from boggers.field.unit import unit_rms


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e3])
def test_it_is_torchs_own(dtype: torch.dtype, scale: float) -> None:
    states = scale * torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    ours, theirs = (states.to(dtype).requires_grad_() for _ in range(2))
    torch.testing.assert_close(unit_rms(ours), F.rms_norm(theirs, (7,)))
    weight = torch.arange(7.0).to(dtype)
    (unit_rms(ours) * weight).sum().backward()
    (F.rms_norm(theirs, (7,)) * weight).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    if dtype != torch.bfloat16:
        torch.testing.assert_close(ours.grad, theirs.grad)
    else:
        assert (ours.grad - theirs.grad).abs().max() <= 0.05 * theirs.grad.abs().max()


def test_its_gradient_is_exact() -> None:
    states = torch.randn(
        3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert torch.autograd.gradcheck(unit_rms, states)
