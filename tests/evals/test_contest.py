"""Contestants are of one size, look only back, and come out of their seed alone."""

from dataclasses import replace

import pytest
import torch

from boggers.errors import UserError
from boggers.evals.contest import Budget, Contestant, size_of
from boggers.evals.contestants import CONTESTANTS, find
from boggers.evals.flops import flops_per_token
from boggers.train.precision import products_in


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def text(budget: Budget) -> torch.Tensor:
    return torch.randint(budget.vocab_size, (2, 24), generator=generator(5))


@pytest.mark.parametrize("wanted", [100_000, 1_000_000])
def test_everyone_is_of_the_budgets_size(
    contestant: Contestant, budget: Budget, wanted: int
) -> None:
    budget = replace(budget, non_embedding=wanted)
    model = contestant.build(budget, generator())
    size = size_of(model)
    assert size.non_embedding == pytest.approx(wanted, rel=0.03)
    assert size.total - size.non_embedding == budget.vocab_size * budget.width
    assert size.total == sum(p.numel() for p in model.parameters())


def test_a_changed_token_changes_nothing_before_it(contestant: Contestant, budget: Budget) -> None:
    model = contestant.build(budget, generator()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator(1))
        tokens = text(budget)
        before = model(tokens)
        assert before.shape == (2, 24, budget.vocab_size)
        for t in (1, 12, 23):
            changed = tokens.clone()
            changed[:, t] = (changed[:, t] + 1) % budget.vocab_size
            after = model(changed)
            torch.testing.assert_close(after[:, :t], before[:, :t], rtol=1e-5, atol=1e-5)
            assert not torch.allclose(after[:, t:], before[:, t:], rtol=1e-3, atol=1e-3)


def test_weights_come_from_the_generator_alone(contestant: Contestant, budget: Budget) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = contestant.build(budget, generator(7))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = (contestant.build(budget, generator(seed)) for seed in (7, 8))
    weights = dict(first.named_parameters())
    assert all(torch.equal(weights[name], p) for name, p in again.named_parameters())
    assert any(not torch.equal(weights[name], p) for name, p in other.named_parameters())


def test_every_weight_learns_within_two_steps(contestant: Contestant, budget: Budget) -> None:
    model = contestant.build(budget, generator()).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    tokens = text(budget)
    for _ in range(2):
        optimiser.zero_grad()
        logits = model(tokens[:, :-1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimiser.step()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert not silent


def test_operations_are_counted_as_by_hand(budget: Budget) -> None:
    """A linear map of n weights costs 2n operations forward and 4n backward."""
    model = CONTESTANTS["stream-k0"].build(budget, generator())
    counted = flops_per_token(model, budget.vocab_size, 32)
    maps = [p.numel() for p in model.parameters() if p.ndim == 2 and min(p.shape) > 4]
    tables = [p.numel() for name, p in model.named_parameters() if name.endswith("phrase_table")]
    # The gradient of what embeds the first layer's input is a lookup, not a product.
    assert counted == pytest.approx(6 * (sum(maps) - sum(tables)), rel=0.02)


def test_counting_leaves_the_model_as_it_was(contestant: Contestant, budget: Budget) -> None:
    model = contestant.build(budget, generator()).eval()
    before = [p.detach().clone() for p in model.parameters()]
    assert flops_per_token(model, budget.vocab_size, 16) > 0
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_the_width_is_the_transformers() -> None:
    assert Budget(vocab_size=9, sequence_length=8, non_embedding=786_432).width == 128
    assert Budget(vocab_size=9, sequence_length=8, non_embedding=1_000_000).width == 128
    wide = Budget(vocab_size=9, sequence_length=8, non_embedding=1_000_000, table_width=160)
    assert wide.width == 160
    with pytest.raises(UserError, match="--width"):
        replace(wide, table_width=100).width  # noqa: B018
    assert Budget(vocab_size=9, sequence_length=8, non_embedding=100).width == 32


def test_filling_takes_the_nearest_multiple() -> None:
    budget = Budget(vocab_size=9, sequence_length=8, non_embedding=1000)
    assert budget.fill(lambda n: 10 * n, multiple=16) == 96
    with pytest.raises(UserError, match="too small"):
        budget.fill(lambda n: 2000 * n, multiple=1)


def test_everyone_can_be_trained_in_bfloat16(contestant: Contestant, budget: Budget) -> None:
    model = contestant.build(budget, generator()).train()
    with products_in("bf16", torch.device("cpu")):
        logits = model(text(budget))
    torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), text(budget).flatten()
    ).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("field", ["sequence_length", "non_embedding", "layers"])
def test_an_impossible_budget_is_refused(budget: Budget, field: str) -> None:
    with pytest.raises(UserError, match=field.replace("_", "-")):
        replace(budget, **{field: 0})


def test_contestants_are_found_by_name() -> None:
    assert [c.name for c in find(["lstm", "stream"])] == ["lstm", "stream"]
    with pytest.raises(UserError, match="at least one"):
        find([])
