import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from boggers.train import losses

GOLDEN = Path(__file__).parents[1] / "golden" / "scalars.json"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def still_path(rows: Tensor, steps: int) -> tuple[Tensor, ...]:
    """A path along which no sample moves, each row its own state."""
    return tuple(rows.clone() for _ in range(steps))


class TestCrossEntropies:
    def test_plain_is_the_mean_negative_log_probability(self) -> None:
        logits = torch.randn(5, 7, generator=generator(), dtype=torch.float64)
        targets = torch.tensor([0, 3, 6, 2, 2])
        expected = -torch.stack(
            [(row.exp() / row.exp().sum())[y].log() for row, y in zip(logits, targets, strict=True)]
        ).mean()
        torch.testing.assert_close(losses.plain_cross_entropy(logits, targets), expected)

    def test_plain_of_uniform_logits_is_log_vocabulary(self) -> None:
        loss = losses.plain_cross_entropy(torch.zeros(3, 11), torch.tensor([1, 5, 10]))
        assert loss.item() == pytest.approx(math.log(11), rel=1e-6)

    def test_smoothing_mixes_in_the_mean_over_the_vocabulary(self) -> None:
        logits = torch.randn(4, 6, generator=generator(), dtype=torch.float64)
        targets = torch.tensor([0, 1, 2, 5])
        log_p = F.log_softmax(logits, -1)
        expected = (-0.9 * log_p[range(4), targets] - 0.1 * log_p.mean(-1)).mean()
        smoothed = losses.smoothed_cross_entropy(logits, targets, 0.1)
        torch.testing.assert_close(smoothed, expected)

    def test_a_perfect_prediction_still_pays_for_smoothing_but_not_plainly(self) -> None:
        logits = torch.full((1, 8), -20.0)
        logits[0, 3] = 20.0
        assert losses.plain_cross_entropy(logits, torch.tensor([3])).item() < 1e-6
        assert losses.smoothed_cross_entropy(logits, torch.tensor([3]), 0.06).item() > 0.5

    def test_the_readout_auxiliary_is_a_cross_entropy_with_optional_smoothing(self) -> None:
        logits = torch.randn(4, 6, generator=generator())
        targets = torch.tensor([0, 1, 2, 5])
        plain = losses.readout_auxiliary(logits, targets)
        assert plain == losses.plain_cross_entropy(logits, targets)
        smoothed = losses.readout_auxiliary(logits, targets, smoothing=0.2)
        assert smoothed == losses.smoothed_cross_entropy(logits, targets, 0.2)


class TestContrast:
    def fixture(self) -> tuple[Tensor, Tensor, dict[str, float]]:
        k = torch.arange(4 * 3 * 8, dtype=torch.float64)
        a = F.normalize(torch.sin(0.3 * k).view(4, -1), dim=1)
        b = F.normalize((torch.sin(0.3 * k + 0.9) + 0.5 * torch.cos(0.05 * k)).view(4, -1), dim=1)
        golden = json.loads(GOLDEN.read_text())["contrastive"]
        return (a * b).sum(1), (a * b.roll(1, 0)).sum(1), golden

    def test_the_hinge_reproduces_the_original(self) -> None:
        like, unlike, golden = self.fixture()
        assert like.mean().item() == pytest.approx(golden["cos_pos"], rel=1e-9)
        assert unlike.mean().item() == pytest.approx(golden["cos_neg"], rel=1e-9)
        hinge = losses.contrast(like, unlike, margin=0.2)
        assert hinge.item() == pytest.approx(golden["tau_1"], rel=1e-9)

    def test_temperature_has_an_effect_where_the_originals_cancelled(self) -> None:
        like, unlike, golden = self.fixture()
        assert golden["tau_1"] == golden["tau_0.5"]
        soft = [losses.contrast(like, unlike, margin=0.2, temperature=t).item() for t in (1.0, 0.5)]
        assert soft[0] > soft[1] + 0.05 > golden["tau_0.5"] + 0.05

    def test_the_soft_form_tends_to_the_hinge(self) -> None:
        like, unlike, golden = self.fixture()
        cold = losses.contrast(like, unlike, margin=0.2, temperature=1e-4)
        assert cold.item() == pytest.approx(golden["tau_1"], rel=1e-3)

    def test_the_soft_form_is_a_two_way_cross_entropy(self) -> None:
        like, unlike, _ = self.fixture()
        logits = torch.stack([like / 0.3, (unlike + 0.2) / 0.3], dim=1)
        expected = 0.3 * F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64))
        soft = losses.contrast(like, unlike, margin=0.2, temperature=0.3)
        torch.testing.assert_close(soft, expected)

    def test_the_soft_form_still_pulls_where_the_hinge_is_silent(self) -> None:
        like = torch.tensor([0.9], requires_grad=True)
        losses.contrast(like, torch.tensor([0.0]), margin=0.2).backward()
        assert like.grad is not None
        assert like.grad.item() == 0.0
        like.grad = None
        losses.contrast(like, torch.tensor([0.0]), margin=0.2, temperature=0.2).backward()
        assert like.grad.item() < -0.01


class TestTrajectoryContrast:
    @pytest.mark.parametrize("batch", [2, 8, 32])
    def test_settled_samples_that_differ_cost_nothing(self, batch: int) -> None:
        """A permutation over (step, sample) rows would cost 0.2/B: a row met by itself."""
        path = still_path(torch.eye(batch)[:, None, :], steps=9)
        rows = torch.stack(path)[:-1].flatten(0, 1).flatten(1)
        permutation = torch.randperm(len(rows), generator=generator(3))
        permuted = F.relu(0.2 - 1.0 + (rows * rows[permutation]).sum(1)).mean()
        assert permuted.item() == pytest.approx(0.2 / batch, rel=1.5)
        assert permuted.item() > 0.0
        for seed in range(20):
            assert losses.trajectory_contrast(path, generator(seed)).item() == 0.0

    def test_similar_samples_are_pushed_apart(self) -> None:
        common = torch.randn(1, 3, 8, generator=generator(1))
        own = torch.randn(6, 3, 8, generator=generator(2))
        first = (common + 0.1 * own).requires_grad_()
        path = (first, first * 1.0, first * 1.0)
        loss = losses.trajectory_contrast(path, generator())
        assert loss.item() > 0.1
        (gradient,) = torch.autograd.grad(loss, first)
        assert torch.all(gradient.flatten(1).norm(dim=1) > 1e-3)
        moved = (first - 2.0 * gradient).detach()
        after = losses.trajectory_contrast((moved,) * 3, generator())
        assert after.item() < loss.item()

    def test_the_compared_states_are_held_fixed(self) -> None:
        states = [torch.randn(4, 2, 4, generator=generator(s), requires_grad=True) for s in (1, 2)]
        losses.trajectory_contrast(tuple(states), generator(), margin=2.0).backward()
        assert states[0].grad is not None
        assert states[0].grad.abs().sum() > 0
        assert states[1].grad is not None
        assert states[1].grad.abs().sum() == 0.0

    def test_negatives_are_other_samples_of_the_same_step(self) -> None:
        """With two samples there is one choice, so the value is known exactly."""
        path = tuple(torch.randn(2, 3, 4, generator=generator(s)) for s in range(4))
        rows = F.normalize(torch.stack(path).flatten(2), dim=-1)
        like = (rows[:-1] * rows[1:]).sum(-1)
        unlike = (rows[:-1] * rows[1:].flip(1)).sum(-1)
        expected = F.relu(0.5 - like + unlike).mean()
        loss = losses.trajectory_contrast(path, generator(9), margin=0.5)
        torch.testing.assert_close(loss, expected)

    def test_several_negatives_are_averaged_before_the_hinge(self) -> None:
        path = tuple(torch.randn(5, 2, 4, generator=generator(s)) for s in range(3))
        many = [
            losses.trajectory_contrast(path, generator(s), margin=3.0, negatives=400).item()
            for s in range(2)
        ]
        rows = F.normalize(torch.stack(path).flatten(2), dim=-1)
        cosines = rows[:-1] @ rows[1:].transpose(1, 2)
        like = cosines.diagonal(dim1=1, dim2=2)
        unlike = (cosines.sum(-1) - like) / 4
        assert many == pytest.approx([F.relu(3.0 - like + unlike).mean().item()] * 2, abs=0.03)

    def test_the_same_generator_gives_the_same_value(self) -> None:
        path = tuple(torch.randn(6, 2, 4, generator=generator(s)) for s in range(3))
        first, again, other = (
            losses.trajectory_contrast(path, generator(s), margin=1.0).item() for s in (5, 5, 6)
        )
        assert first == again != other

    @pytest.mark.parametrize(("steps", "batch"), [(1, 4), (3, 1)])
    def test_nothing_to_compare_is_zero_and_differentiable(self, steps: int, batch: int) -> None:
        state = torch.randn(batch, 2, 4, requires_grad=True)
        loss = losses.trajectory_contrast((state,) * steps, generator())
        assert loss.item() == 0.0
        loss.backward()
        assert state.grad is not None
        assert state.grad.abs().sum() == 0.0


class TestTokenAuxiliary:
    def test_without_options_it_is_plain_cross_entropy(self) -> None:
        logits = torch.randn(4, 6, generator=generator())
        targets = torch.tensor([0, 1, 2, 5])
        plain = losses.plain_cross_entropy(logits, targets)
        assert losses.token_auxiliary(logits, targets) == plain

    def test_the_entropy_bonus_subtracts_the_mean_entropy(self) -> None:
        logits = torch.zeros(3, 8)
        targets = torch.tensor([0, 1, 2])
        loss = losses.token_auxiliary(logits, targets, entropy_bonus=0.5)
        assert loss.item() == pytest.approx(0.5 * math.log(8), rel=1e-6)

    def test_the_bias_is_added_before_the_softmax(self) -> None:
        logits = torch.randn(3, 8, generator=generator())
        bias = torch.randn(3, 8, generator=generator(1))
        targets = torch.tensor([0, 1, 2])
        loss = losses.token_auxiliary(logits, targets, bias=bias, smoothing=0.1)
        assert loss == losses.smoothed_cross_entropy(logits + bias, targets, 0.1)

    def test_the_bigram_bias_has_one_strength_at_every_width(self) -> None:
        for width in (16, 128, 1024):
            embedding = torch.randn(50, width, generator=generator(), dtype=torch.float64)
            contexts = torch.arange(50)[:, None].expand(50, 3)
            bias = losses.bigram_bias(embedding, contexts, 0.5)
            assert bias.diagonal().mean().item() == pytest.approx(0.5, rel=0.1)

    def test_the_bigram_bias_reads_the_last_token_and_teaches_the_embedding(self) -> None:
        embedding = torch.randn(9, 4, generator=generator(), requires_grad=True)
        bias = losses.bigram_bias(embedding, torch.tensor([[1, 2], [5, 7]]), 2.0)
        torch.testing.assert_close(bias, 0.5 * embedding[[2, 7]] @ embedding.T)
        bias.square().sum().backward()
        assert embedding.grad is not None
        assert embedding.grad.abs().sum() > 0


def test_the_energy_regulariser_is_the_mean_square() -> None:
    energy = torch.tensor([1.0, -3.0], requires_grad=True)
    loss = losses.energy_regulariser(energy)
    assert loss.item() == 5.0
    loss.backward()
    assert energy.grad is not None
    assert energy.grad.tolist() == [1.0, -3.0]
