"""What a run writes down besides its metrics, for every architecture."""

import csv
import dataclasses
import gc
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from boggers.errors import UserError
from boggers.model.token import TokenConfig
from boggers.train import loop
from boggers.train.batch_records import BATCH_COLUMNS
from boggers.train.epoch_records import EPOCH_COLUMNS
from boggers.train.loop import fit
from boggers.train.prepare import prepare
from boggers.train.prompts import PROMPTS
from boggers.train.record_config import RecordConfig
from boggers.train.records import make_records
from boggers.train.run import RunConfig
from boggers.train.running import GATHER
from boggers.train.summary import baseline_block, evaluation_json
from boggers.train.tables import Table

MakeConfig = Callable[..., RunConfig]

TOKEN = TokenConfig(state_dim=8, num_waves=2, sequence_length=8, breaks=True, break_tense=0.1)


def recorded(config: RunConfig, record: RecordConfig) -> tuple[Path, list[str]]:
    """Train with these records; the run's folder, and what was said."""
    prepared = prepare(dataclasses.replace(config, record=record))
    said: list[str] = []
    records = make_records(prepared, said.append)
    result = fit(prepared, records.observers, prepared.validate, records.recorders)
    block = baseline_block(prepared, result, records.epochs.last, ["a fox"])
    (prepared.run.folder / "baseline.txt").write_text(block)
    (prepared.run.folder / "result.json").write_text(json.dumps(evaluation_json(prepared, result)))
    return prepared.run.folder, said


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_two_epochs_of_windows(make_config: MakeConfig, tmp_path: Path) -> None:
    record = RecordConfig(
        epoch_metrics_csv=tmp_path / "epochs.csv",
        metrics_fast_csv=tmp_path / "fast.csv",
        attractor_steps_metrics_csv=tmp_path / "steps.csv",
        log_metrics=True,
        epoch_prompt_tokens=3,
        debug=True,
    )
    config = make_config(batch_size=256, max_epochs=2, loss_mode="trajectory", breaks=True)
    folder, said = recorded(config, record)
    epochs = rows(tmp_path / "epochs.csv")
    assert [row["epoch"] for row in epochs] == ["1", "2"]
    assert tuple(epochs[0]) == EPOCH_COLUMNS
    for row in epochs:
        # The path contrast is the same quantity in training and on held-out text.
        for name in ("train_traj_contrast", "val_traj_contrast", "val_ce", "val_ce_plain"):
            assert float(row[name]) >= 0
        assert float(row["max_batch_loss"]) >= float(row["mean_loss"]) > 0
        assert float(row["val_ce"]) != float(row["val_ce_plain"])
    for row in rows(tmp_path / "fast.csv"):
        assert float(row["energy_min"]) <= float(row["mean_energy"]) <= float(row["energy_max"])
    (first, _) = rows(tmp_path / "steps.csv")
    assert first["mean_steps"] == "2.000000"
    assert first["convergence_failures"] == first["batches"]
    batches = rows(folder / "batches.csv")
    assert tuple(batches[0]) == BATCH_COLUMNS
    assert len(batches) == int(epochs[-1]["global_step"])
    for name in ("student_T_total", "cos_pos", "loss_traj_core", "state_norm_mean", "margin"):
        assert float(batches[0][name]) != 0, name
    assert float(batches[0]["cos_pos"]) > float(batches[0]["cos_neg"])
    assert any("first batch" in line for line in said)
    text = (folder / "samples" / "epoch-2.txt").read_text(encoding="utf-8")
    assert text.count("----") == len(PROMPTS) == 8
    assert all(prompt in text for prompt in PROMPTS)


def test_tokens(make_config: MakeConfig, tmp_path: Path) -> None:
    record = RecordConfig(
        epoch_metrics_csv=tmp_path / "epochs.csv",
        metrics_fast_csv=tmp_path / "fast.csv",
        batch_metrics_csv=tmp_path / "batches.csv",
        epoch_prompt_tokens=None,
    )
    config = dataclasses.replace(
        make_config(batch_size=16, max_epochs=1), architecture="token", model=TOKEN
    )
    folder, _ = recorded(config, record)
    (epoch,) = rows(tmp_path / "epochs.csv")
    assert float(epoch["val_bpb"]) > 0
    assert epoch["val_ce"] == ""
    batches = rows(tmp_path / "batches.csv")
    # In the original these four were always 0: nothing called its token path.
    assert all(float(row["token_break_high_count"]) > 0 for row in batches)
    assert all(float(row["token_break_avg_t_pre"]) > 0.1 for row in batches)
    assert not (folder / "samples").exists()


def test_the_summary_names_what_was_run(make_config: MakeConfig) -> None:
    folder, _ = recorded(make_config(max_steps=2), RecordConfig(epoch_prompt_tokens=None))
    block = (folder / "baseline.txt").read_text()
    for name in ("architecture", "seed", "loss_mode", "val_bits_per_byte", 'sample 1: "a fox"'):
        assert name in block
    result = json.loads((folder / "result.json").read_text())
    assert result["base"]["val_windows"] > 0
    assert result["base"]["val_metrics_reliable"] is True
    assert result["config"]["seed"] == 42


def test_tensorboard_has_the_rows_of_the_metrics(make_config: MakeConfig) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = RecordConfig(tensorboard=True, epoch_prompt_tokens=None)
    folder, _ = recorded(make_config(max_steps=8), record)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    steps = [int(row["step"]) for row in rows(folder / "metrics.csv")]
    assert [event.step for event in events.Scalars("train_ce")] == steps


def test_a_missing_tracker_is_named(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    config = dataclasses.replace(make_config(), record=RecordConfig(wandb_project="p"))
    with pytest.raises(UserError, match=r"boggers\[wandb\]"):
        make_records(prepare(config), print)


def test_a_table_is_continued_where_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    table = Table(path, ("epoch", "global_step"))
    table.append({"epoch": 1, "global_step": 5}, {"epoch": 2, "global_step": 10})
    Table(path, ("epoch", "global_step"), resumed_at=5).append({"epoch": 2, "global_step": 10})
    assert [row["global_step"] for row in rows(path)] == ["5", "10"]
    Table(path, ("epoch", "global_step")).append({"epoch": 1, "global_step": 3})
    assert len(rows(path)) == 3
    with pytest.raises(UserError, match="other columns"):
        Table(path, ("epoch",))


def test_checkpoints_elsewhere_belong_to_one_run(make_config: MakeConfig, tmp_path: Path) -> None:
    record = RecordConfig(checkpoint_dir=tmp_path / "kept", epoch_prompt_tokens=None)
    config = make_config(max_steps=1)
    recorded(config, record)
    assert (tmp_path / "kept" / "step-0000001").is_dir()
    other = dataclasses.replace(config.train, out=tmp_path / "other")
    with pytest.raises(UserError, match="another run"):
        prepare(dataclasses.replace(config, train=other, record=record))


def test_a_long_epoch_takes_no_more_memory_than_a_short_one(make_config: MakeConfig) -> None:
    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    prepared = prepare(make_config(batch_size=4, breaks=True, loss_mode="trajectory"))
    assert prepared.steps_per_epoch > 3 * GATHER
    records = make_records(prepared, print)
    training = loop._Training(prepared, records.observers, None, records.recorders)
    counts = []
    for step in range(1, 3 * GATHER + 1):
        training.advance()
        if step % GATHER == 0:  # where what was gathered has just been added up
            counts.append(alive())
    assert counts[0] == counts[1] == counts[2]
