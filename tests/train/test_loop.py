import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from boggers.errors import UserError
from boggers.infer.score import score
from boggers.train import learner, loop
from boggers.train.loop import fit
from boggers.train.metrics import MetricsRow, read_metrics
from boggers.train.observers import EpochEvent, EvalEvent, FitResult, StepEvent, Validation
from boggers.train.prepare import Prepared, prepare
from boggers.train.run import RunConfig, TrainConfig

MakeConfig = Callable[..., RunConfig]


class Listener:
    def __init__(self) -> None:
        self.steps: list[StepEvent] = []
        self.evals: list[EvalEvent] = []
        self.epochs: list[EpochEvent] = []
        self.results: list[FitResult] = []

    def on_step(self, event: StepEvent) -> None:
        self.steps.append(event)

    def on_eval(self, event: EvalEvent) -> None:
        self.evals.append(event)

    def on_epoch(self, event: EpochEvent) -> None:
        self.epochs.append(event)

    def on_end(self, result: FitResult) -> None:
        self.results.append(result)


def run(config: RunConfig) -> tuple[Prepared, FitResult, Listener]:
    prepared, listener = prepare(config), Listener()
    return prepared, fit(prepared, [listener], prepared.validate), listener


def rows(prepared: Prepared) -> list[dict[str, str]]:
    return read_metrics(prepared.run.metrics)


def saved(prepared: Prepared) -> list[int]:
    return sorted(int(p.name.removeprefix("step-")) for p in prepared.run.checkpoints.iterdir())


def test_training_learns(make_config: MakeConfig) -> None:
    prepared, result, _ = run(make_config(max_epochs=4, lr=1e-2))
    uniform = math.log(prepared.tokenizer.vocab_size)
    table = rows(prepared)
    assert float(table[0]["train_ce"]) == pytest.approx(uniform, rel=0.5)
    assert float(table[-1]["train_ce"]) < 0.6 * float(table[0]["train_ce"])
    assert result.validation is not None
    assert result.validation.ce < 0.6 * uniform
    assert result.best_ce == min(float(row["val_ce"]) for row in table if row["val_ce"])


def test_the_measurement_is_of_every_held_out_token_in_bits_per_byte(
    make_config: MakeConfig,
) -> None:
    prepared, result, _ = run(make_config(max_steps=2))
    held_out = prepared.split.held_out
    assert result.validation is not None
    assert result.validation.tokens == held_out.stop - held_out.start
    # a byte tokenizer's token is a byte
    assert result.validation.bits_per_byte == pytest.approx(result.validation.ce / math.log(2))


def test_every_part_is_told(make_config: MakeConfig) -> None:
    prepared, result, listener = run(make_config(max_epochs=2))
    total = 2 * prepared.steps_per_epoch
    assert result.step == result.total_steps == total
    assert [event.step for event in listener.steps] == list(range(1, total + 1))
    assert [event.epoch for event in listener.epochs] == [1, 2]
    assert [event.step for event in listener.evals] == [total // 2, total]
    assert listener.results == [result]
    last = listener.steps[-1]
    assert last.tokens == result.tokens == 2 * len(prepared.rows)
    assert last.tokens_per_second > 0
    assert last.seconds_left == 0.0
    assert last.row is not None
    assert last.row.step == total
    assert [event.row.step for event in listener.steps if event.row] == [
        int(row["step"]) for row in rows(prepared)
    ]


def test_the_last_batch_of_an_epoch_may_be_smaller(make_config: MakeConfig) -> None:
    prepared, _, listener = run(make_config(max_epochs=1))
    tokens = [event.tokens for event in listener.steps]
    assert len(prepared.rows) % 32 != 0
    assert tokens[0] == 32
    assert tokens[-1] - tokens[-2] == len(prepared.rows) % 32
    assert tokens[-1] == len(prepared.rows)


def test_the_same_seed_gives_the_same_run_and_another_another(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    settings = {"max_steps": 3, "trajectory_contrast_weight": 1.0}
    first, again, other = (
        run(make_config(out=tmp_path / name, seed=seed, **settings))[0].model.state_dict()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_rows_average_over_their_steps(make_config: MakeConfig, tmp_path: Path) -> None:
    each = rows(run(make_config(out=tmp_path / "each", max_steps=8, log_every=1))[0])
    four = rows(run(make_config(out=tmp_path / "four", max_steps=8, log_every=4))[0])
    assert [row["step"] for row in four] == ["4", "8"]
    for column in ("loss", "train_ce", "grad_norm", "tension", "energy", "steps_used"):
        mean = sum(float(row[column]) for row in each[4:]) / 4
        assert float(four[1][column]) == pytest.approx(mean, rel=1e-5), column


def test_steps_without_a_row_never_wait_for_the_device(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waits(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero):
                Waits.count += 1
            return func(*args, **(kwargs or {}))

    config = make_config(max_steps=30, log_every=20, max_skipped_steps=20, grad_clip=1.0)
    prepared = prepare(config)
    batch = prepared.batch(0, 0)
    monkeypatch.setattr(Prepared, "batch", lambda *_: batch)
    training = loop._Training(prepared, [], None, [])
    training.advance()
    with Waits():
        for _ in range(10):
            training.advance()
    assert Waits.count == 0


class TestNotFinite:
    def poison(
        self, monkeypatch: pytest.MonkeyPatch, steps: set[int], prepared: Prepared
    ) -> list[dict[str, torch.Tensor]]:
        """Make the loss of these steps (from 1) not a number; collect the weights before each."""
        before: list[dict[str, torch.Tensor]] = []
        real = learner.objective

        def poisoned(*args: object, **given: object) -> learner.Loss:
            weights = {k: v.clone() for k, v in prepared.model.state_dict().items()}
            before.append(weights)
            loss = real(*args, **given)  # type: ignore[arg-type]
            bad = math.nan if len(before) in steps else 1.0
            return dataclasses.replace(loss, total=loss.total * bad)

        monkeypatch.setattr(learner, "objective", poisoned)
        return before

    def test_such_a_step_is_skipped_and_counted(
        self, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared = prepare(make_config(max_steps=8, log_every=1))
        before = self.poison(monkeypatch, {3, 6}, prepared)
        result = fit(prepared)
        assert result.skipped == 2
        for step in range(1, 8):
            same = all(torch.equal(before[step - 1][k], before[step][k]) for k in before[0])
            assert same == (step in {3, 6})
        table = rows(prepared)
        assert [row["skipped"] for row in table] == ["0", "0", "1", "1", "1", "2", "2", "2"]
        assert [row["loss"] == "" for row in table] == [s in {3, 6} for s in range(1, 9)]

    def test_a_long_row_of_them_ends_the_run_and_loses_nothing(
        self, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared = prepare(make_config(max_steps=20, save_every=2, max_skipped_steps=3))
        before = self.poison(monkeypatch, set(range(5, 21)), prepared)
        with pytest.raises(UserError, match=r"[34] steps in a row .* Lower --lr or set"):
            fit(prepared)
        assert saved(prepared) == [4, 6]
        monkeypatch.undo()
        resumed = prepare(make_config(max_steps=7, resume="auto"))
        assert resumed.progress.skipped == resumed.progress.skipped_in_a_row == 2
        state = resumed.model.state_dict()
        assert all(torch.equal(state[name], before[4][name]) for name in state)
        assert fit(resumed).skipped == 2

    def test_fewer_in_a_row_do_not(
        self, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared = prepare(make_config(max_steps=9, max_skipped_steps=3, log_every=1))
        self.poison(monkeypatch, {2, 3, 5, 6, 8, 9}, prepared)
        assert fit(prepared).skipped == 6


class TestSettings:
    """Every setting of the loop changes what can be seen."""

    def test_max_steps_overrides_the_epochs(self, make_config: MakeConfig) -> None:
        prepared, result, _ = run(make_config(max_epochs=1, max_steps=40))
        assert prepared.steps_per_epoch < 40
        assert result.step == 40

    def test_max_epochs(self, make_config: MakeConfig) -> None:
        prepared, result, _ = run(make_config(max_epochs=2))
        assert result.step == 2 * prepared.steps_per_epoch
        assert result.epoch == 2

    def test_batch_size_and_batch_tokens(self, make_config: MakeConfig, tmp_path: Path) -> None:
        assert run(make_config(max_steps=2, batch_size=8))[1].tokens == 16
        other = make_config(max_steps=2, batch_tokens=20, out=tmp_path / "other")
        assert run(other)[1].tokens == 40

    def test_log_every(self, make_config: MakeConfig) -> None:
        prepared, _, _ = run(make_config(max_steps=10, log_every=3))
        assert [row["step"] for row in rows(prepared)] == ["3", "6", "9", "10"]

    def test_eval_every(self, make_config: MakeConfig) -> None:
        prepared, _, listener = run(make_config(max_steps=10, eval_every=4))
        assert [event.step for event in listener.evals] == [4, 8, 10]
        assert [row["step"] for row in rows(prepared) if row["val_ce"]] == ["4", "8", "10"]

    def test_eval_tokens(self, make_config: MakeConfig, tmp_path: Path) -> None:
        _, _, all_of_it = run(make_config(max_steps=2))
        prepared, result, some = run(
            make_config(max_steps=2, eval_tokens=7, out=tmp_path / "other")
        )
        held_out = prepared.split.held_out
        (whole,), (part,) = all_of_it.evals, some.evals
        assert (whole.validation.tokens, whole.validation.partial) == (len(held_out), False)
        assert (part.validation.tokens, part.validation.partial) == (7, True)
        assert prepared.judged == held_out[:7]
        exact = score(prepared.model.eval(), prepared.corpus.ids, held_out.start, held_out[7])
        assert result.best_ce == pytest.approx(exact.nats / 7, rel=1e-5)

    def test_save_every_and_keep_checkpoints(self, make_config: MakeConfig) -> None:
        prepared = prepare(make_config(max_steps=10, save_every=3, keep_checkpoints=3))
        result = fit(prepared)
        assert saved(prepared) == [6, 9, 10]
        assert result.checkpoint == prepared.run.checkpoints / "step-0000010"

    def test_save_every_zero_is_off(self, make_config: MakeConfig) -> None:
        prepared = prepare(make_config(max_steps=10, save_every=0))
        fit(prepared)
        assert saved(prepared) == [10]

    def test_every_epoch_is_saved(self, make_config: MakeConfig) -> None:
        prepared = prepare(make_config(max_epochs=2))
        fit(prepared)
        assert saved(prepared) == [prepared.steps_per_epoch, 2 * prepared.steps_per_epoch]

    def test_a_new_best_is_saved_and_kept(self, make_config: MakeConfig) -> None:
        prepared = prepare(make_config(max_steps=8, eval_every=2, keep_checkpoints=1))
        values = iter([3.0, 1.0, 2.0, 2.5])

        def validate(*_: object) -> Validation:
            return Validation(ce=next(values), bits_per_byte=0.0, tokens=1)

        listener = Listener()
        result = fit(prepared, [listener], validate)
        assert [event.is_best for event in listener.evals] == [True, True, False, False]
        assert (result.best_ce, result.best_step) == (1.0, 4)
        assert saved(prepared) == [4, 8]

    def test_all_settings_are_covered(self) -> None:
        elsewhere = {"out", "device", "resume", "resume_checkpoint"}  # test_prepare, test_run
        elsewhere |= {"precision", "ema_decay"}  # test_stream
        here = {"seed", "max_skipped_steps", *elsewhere}
        here |= {"max_steps", "max_epochs", "batch_size", "batch_tokens"}
        here |= {"log_every", "eval_every", "eval_tokens", "save_every", "keep_checkpoints"}
        assert here == {field.name for field in dataclasses.fields(TrainConfig)}


def test_dropping_validation_leaves_its_columns_empty(make_config: MakeConfig) -> None:
    prepared = prepare(make_config(max_steps=4))
    assert fit(prepared).validation is None
    assert all(row["val_ce"] == "" for row in rows(prepared))


def test_the_speed_leaves_out_measuring_and_the_time_does_not(make_config: MakeConfig) -> None:
    def validate(*_: object) -> Validation:
        time.sleep(0.4)
        return Validation(ce=1.0, bits_per_byte=1.0, tokens=1)

    prepared = prepare(make_config(max_steps=4, eval_every=2))
    fit(prepared, validate=validate)
    last = rows(prepared)[-1]
    assert float(last["seconds"]) > 0.8
    assert float(last["tokens_per_second"]) > 64 / 0.4


def test_every_loss_has_its_column(make_config: MakeConfig) -> None:
    prepared = prepare(make_config(max_steps=4, loss_mode="trajectory"))
    fit(prepared)
    empty = {name for name, cell in rows(prepared)[0].items() if cell == ""}
    beside = {"ts_tension", "ts_fired", "ts_evolves", "memory_active", "memory_deep"}
    unasked = {"intermediate_ce", "guidance_mse", "anchor_contrast", "head_diversity"}
    unasked |= {"interaction_penalty", "entropy_floor_penalty", "repulsion"}
    assert empty == {"val_ce", "val_bpb", "diagnosis"} | beside | unasked
    assert set(rows(prepared)[0]) == {field.name for field in dataclasses.fields(MetricsRow)}
