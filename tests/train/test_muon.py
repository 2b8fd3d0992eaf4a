"""Muon: torch's own steps, in float32, many matrices at once."""

import pytest
import torch
from torch import nn

from boggers.train.muon import Muon, orthogonal_part

SHAPES = [(6, 4), (4, 6), (6, 4), (5, 5), (1, 3)]


def drawn(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def with_gradients(matrices: list[nn.Parameter], seed: int) -> list[nn.Parameter]:
    for matrix, gradient in zip(matrices, drawn(seed), strict=True):
        matrix.grad = gradient.detach()
    return matrices


@pytest.mark.parametrize("nesterov", [True, False])
def test_it_moves_like_torchs_own(nesterov: bool) -> None:
    settings = {"lr": 0.05, "weight_decay": 0.3, "momentum": 0.9, "nesterov": nesterov}
    ours, theirs = drawn(0), drawn(0)
    one, other = Muon(ours, **settings), torch.optim.Muon(theirs, **settings)  # type: ignore[arg-type]
    for seed in range(1, 5):
        with_gradients(ours, seed)
        with_gradients(theirs, seed)
        one.step()
        other.step()
    for left, right in zip(ours, theirs, strict=True):
        # torch iterates in bfloat16, which keeps eight bits; four steps of about 0.05 were taken.
        torch.testing.assert_close(left, right, rtol=0, atol=4e-3)


def test_company_does_not_change_how_a_matrix_moves() -> None:
    together, alone = drawn(3), drawn(3)
    Muon(with_gradients(together, 4), lr=0.1).step()
    for matrix in with_gradients(alone, 4):
        Muon([matrix], lr=0.1).step()
    for left, right in zip(together, alone, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


def test_a_matrix_without_a_gradient_stays() -> None:
    first, *others = drawn(5)
    before = first.detach().clone()
    Muon([first, *with_gradients([first, *others], 6)[1:]], lr=0.1)
    first.grad = None
    Muon([first, *others], lr=0.1).step()
    assert torch.equal(first, before)
    assert not torch.equal(others[0], drawn(5)[1])


@pytest.mark.parametrize("shape", [(3, 40, 12), (2, 12, 40), (1, 7, 7)])
def test_the_part_is_nearly_orthogonal_and_turns_with_its_matrix(
    shape: tuple[int, int, int],
) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    part = orthogonal_part(matrices)
    sizes = torch.linalg.svdvals(part)
    assert sizes.min() > 0.3
    assert sizes.max() < 1.3
    torch.testing.assert_close(orthogonal_part(matrices.mT), part.mT, rtol=0, atol=1e-5)
    # Along the same directions as the matrix: UᵀPV is diagonal.
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ part @ vh.mT
    torch.testing.assert_close(
        inner, torch.diag_embed(inner.diagonal(dim1=1, dim2=2)), rtol=0, atol=1e-4
    )


def test_double_precision_is_kept() -> None:
    assert orthogonal_part(torch.eye(3, dtype=torch.float64)[None]).dtype == torch.float64
