import math
from itertools import pairwise
from typing import Literal

import pytest
import torch
from torch import nn

from boggers.errors import UserError
from boggers.train.optim import OptimConfig, guarded_step, learning_rate, make_optimizer


def rates(config: OptimConfig, total: int, per_epoch: int = 1000) -> list[float]:
    return [learning_rate(config, step, total, per_epoch) for step in range(total)]


class TestLearningRate:
    def test_constant(self) -> None:
        assert set(rates(OptimConfig(lr=0.5), 20)) == {0.5}

    def test_warmup_climbs_linearly_to_the_peak(self) -> None:
        climb = rates(OptimConfig(lr=1.0, warmup_steps=4), 8)
        assert climb == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0])

    def test_step_decay_by_epochs(self) -> None:
        config = OptimConfig(lr=1.0, lr_decay_every=2, lr_gamma=0.1)
        by_epoch = [learning_rate(config, step, 60, 10) for step in range(0, 60, 10)]
        assert by_epoch == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01, 0.01])
        assert learning_rate(config, 19, 60, 10) == 1.0

    def test_zero_decay_period_means_none(self) -> None:
        assert set(rates(OptimConfig(lr=1.0, lr_decay_every=0), 5, per_epoch=1)) == {1.0}

    def test_cosine_falls_half_a_wave_to_the_final_fraction(self) -> None:
        curve = rates(OptimConfig(lr=2.0, schedule="cosine", final_lr_fraction=0.1), 100)
        assert curve[0] == 2.0
        assert curve[50] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
        assert curve[25] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))))
        assert all(a > b for a, b in pairwise(curve))
        assert 0.2 < curve[99] < 0.21

    def test_wsd_stays_then_decays_linearly(self) -> None:
        curve = rates(OptimConfig(lr=1.0, schedule="wsd", decay_fraction=0.2), 100)
        assert curve[:81] == [1.0] * 81
        assert curve[90] == pytest.approx(0.5)
        assert curve[99] == pytest.approx(0.05)

    def test_wsd_ends_at_the_final_fraction(self) -> None:
        config = OptimConfig(lr=1.0, schedule="wsd", decay_fraction=0.5, final_lr_fraction=0.4)
        assert rates(config, 10)[-1] == pytest.approx(0.4 + 0.6 * 0.2)
        assert learning_rate(config, 10, 10, 5) == pytest.approx(0.4)

    def test_it_depends_on_nothing_but_its_arguments(self) -> None:
        config = OptimConfig(schedule="wsd", warmup_steps=3, lr_decay_every=1)
        forwards = [learning_rate(config, s, 30, 7) for s in range(30)]
        backwards = [learning_rate(config, s, 30, 7) for s in reversed(range(30))]
        assert forwards == backwards[::-1]


@pytest.mark.parametrize(
    ("flag", "setting"),
    [
        ("--muon-lr", {"muon_lr": 0.0}),
        ("--embedding-lr", {"embedding_lr": -1.0}),
        ("--lr", {"lr": 0.0}),
        ("--warmup-steps", {"warmup_steps": -1}),
        ("--decay-fraction", {"decay_fraction": 0.0}),
        ("--final-lr-fraction", {"final_lr_fraction": 1.5}),
        ("--lr-decay-every", {"lr_decay_every": -1}),
        ("--lr-gamma", {"lr_gamma": 0.0}),
        ("--betas", {"betas": (0.9, 1.0)}),
        ("--weight-decay", {"weight_decay": -0.1}),
        ("--grad-clip", {"grad_clip": 0.0}),
        ("--lr", {"lr": math.nan}),
        ("--lr", {"lr": math.inf}),
    ],
)
def test_a_bad_setting_is_refused_by_its_flag(flag: str, setting: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"^{flag} must be"):
        OptimConfig(**setting)  # type: ignore[arg-type]


Kind = Literal["adamw", "muon"]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(3, 2))
        self.stacked_bias = nn.Parameter(torch.ones(3, 2))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def set_gradients(self, value: float) -> None:
        for parameter in self.parameters():
            parameter.grad = torch.full_like(parameter, value)


class TestOptimizer:
    def test_only_matrices_decay(self) -> None:
        model = Small()
        optimizer = make_optimizer(model, OptimConfig(lr=0.1, weight_decay=0.5))
        model.set_gradients(0.0)
        guarded_step(optimizer, torch.tensor(1.0), 0.1, None)
        torch.testing.assert_close(model.matrix, torch.full((3, 2), 0.95))
        torch.testing.assert_close(model.stacked_bias, torch.ones(3, 2))
        assert model.scale.item() == 1.0

    def test_one_step_is_adamws(self) -> None:
        model, twin = Small(), Small()
        config = OptimConfig(betas=(0.8, 0.95), weight_decay=0.0)
        optimizer = make_optimizer(model, config)
        reference = torch.optim.AdamW(
            twin.parameters(), lr=0.01, betas=(0.8, 0.95), weight_decay=0.0, foreach=False
        )
        for value in (0.3, -2.0, 0.1):
            model.set_gradients(value)
            twin.set_gradients(value)
            guarded_step(optimizer, torch.tensor(1.0), 0.01, None)
            reference.step()
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)

    def test_the_rate_of_the_call_counts(self) -> None:
        model = Small()
        optimizer = make_optimizer(model, OptimConfig(lr=123.0, weight_decay=0.0))
        model.set_gradients(1.0)
        guarded_step(optimizer, torch.tensor(1.0), 0.25, None)
        torch.testing.assert_close(model.scale, torch.tensor(0.75))

    def test_clipping_bounds_the_global_norm_and_reports_the_true_one(self) -> None:
        model = Small()
        optimizer = make_optimizer(model, OptimConfig())
        model.set_gradients(2.0)
        norm, _ = guarded_step(optimizer, torch.tensor(1.0), 0.1, grad_clip=0.5)
        assert norm.item() == pytest.approx(2.0 * math.sqrt(13))
        clipped = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        assert clipped.norm().item() == pytest.approx(0.5, rel=1e-5)

    def test_a_short_gradient_is_not_scaled_up(self) -> None:
        model = Small()
        optimizer = make_optimizer(model, OptimConfig())
        model.set_gradients(0.01)
        guarded_step(optimizer, torch.tensor(1.0), 0.1, grad_clip=5.0)
        assert model.scale.grad is not None
        assert model.scale.grad.item() == pytest.approx(0.01)


class Hidden(Small):
    """With a table, which Muon must leave to AdamW."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.ones(5, 2))


MUON = OptimConfig(optimizer="muon", lr=0.1, muon_lr=0.02, embedding_lr=0.3, weight_decay=0.0)


class TestMuon:
    def test_matrices_move_by_muon_and_the_rest_by_adamw_each_at_its_rate(self) -> None:
        model = Hidden()
        optimizer = make_optimizer(model, MUON)
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        assert model.matrix.grad is not None
        twin = nn.Parameter(torch.ones(3, 2))
        twin.grad = model.matrix.grad.clone()
        guarded_step(optimizer, torch.tensor(1.0), MUON.lr, None)
        torch.optim.Muon([twin], lr=0.02, weight_decay=0.0).step()
        # torch's own iterates in bfloat16: eight bits of a step of 0.02.
        torch.testing.assert_close(model.matrix, twin, rtol=0, atol=2e-4)
        # AdamW's first step has the rate's length in every entry.
        for parameter, rate in ((model.embedding, 0.3), (model.scale, 0.1)):
            torch.testing.assert_close((parameter - 1).abs(), torch.full_like(parameter, rate))

    def test_the_schedule_scales_all_rates_alike(self) -> None:
        model = Hidden()
        optimizer = make_optimizer(model, MUON)
        model.set_gradients(1.0)
        guarded_step(optimizer, torch.tensor(1.0), MUON.lr / 2, None)
        rates = sorted({group["lr"] for group in optimizer.param_groups})
        assert rates == pytest.approx([0.01, 0.05, 0.15])

    def test_left_out_the_table_moves_at_the_common_rate(self) -> None:
        model = Hidden()
        optimizer = make_optimizer(model, OptimConfig(lr=0.1, weight_decay=0.0))
        model.set_gradients(1.0)
        guarded_step(optimizer, torch.tensor(1.0), 0.1, None)
        torch.testing.assert_close(model.embedding, torch.full((5, 2), 0.9))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
class TestGuard:
    @pytest.mark.parametrize("clip", [None, 1.0])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("where", ["loss", "gradient"])
    def test_a_step_that_is_not_finite_changes_no_bit(
        self, kind: Kind, bad: float, where: str, clip: float | None
    ) -> None:
        model = Small()
        optimizer = make_optimizer(model, OptimConfig(optimizer=kind))
        model.set_gradients(0.5)
        guarded_step(optimizer, torch.tensor(1.0), 0.1, clip)
        weights = [p.detach().clone() for p in model.parameters()]
        slots = [
            {slot: value.clone() for slot, value in optimizer.state[p].items()}
            for p in model.parameters()
        ]
        model.set_gradients(0.5)
        if where == "gradient":
            assert model.matrix.grad is not None
            model.matrix.grad[1, 1] = bad
        loss = torch.tensor(bad if where == "loss" else 1.0)
        _, skipped = guarded_step(optimizer, loss, 0.1, clip)
        assert skipped.item() == 1.0
        for parameter, weight, slot in zip(model.parameters(), weights, slots, strict=True):
            assert torch.equal(parameter, weight)
            for name, value in optimizer.state[parameter].items():
                assert torch.equal(value, slot[name]), name

    def test_training_goes_on_after_a_skipped_step_as_if_it_had_not_been(self, kind: Kind) -> None:
        model, twin = Small(), Small()
        config = OptimConfig(optimizer=kind)
        ours, theirs = (make_optimizer(m, config) for m in (model, twin))
        for value in (0.5, math.nan, -0.2):
            model.set_gradients(value)
            guarded_step(ours, torch.tensor(1.0), 0.1, None)
            if math.isfinite(value):
                twin.set_gradients(value)
                guarded_step(theirs, torch.tensor(1.0), 0.1, None)
        for left, right in zip(model.parameters(), twin.parameters(), strict=True):
            assert torch.equal(left, right)


def test_tables_are_decayed_at_a_rate_of_their_own() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Parameter(torch.ones(3, 2))
            self.phrase_table = torch.nn.Parameter(torch.ones(3, 2))
            self.matrix = torch.nn.Parameter(torch.ones(2, 2))

    def after(**settings: float) -> Two:
        model = Two()
        optimizer = make_optimizer(model, OptimConfig(lr=0.1, weight_decay=0.5, **settings))  # type: ignore[arg-type]
        loss = 0.0 * sum(p.sum() for p in model.parameters())
        loss.backward()
        guarded_step(optimizer, loss, 0.1, None)
        return model

    both = after()
    assert both.embedding.max() < 1
    assert both.matrix.max() < 1
    tables_kept = after(embedding_decay=0.0)
    assert torch.equal(tables_kept.embedding, torch.ones(3, 2))
    assert torch.equal(tables_kept.phrase_table, torch.ones(3, 2))
    assert torch.equal(tables_kept.matrix, both.matrix)
    phrases_decay = after(embedding_decay=0.0, phrase_decay=0.5)
    assert torch.equal(phrases_decay.embedding, torch.ones(3, 2))
    assert torch.equal(phrases_decay.phrase_table, both.phrase_table)
