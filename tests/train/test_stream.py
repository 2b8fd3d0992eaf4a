"""A stream is trained like a window: it learns, resumes bit for bit, refuses what it lacks."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from boggers.data.windows import Batch
from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.infer.score import score
from boggers.model.stream import StreamConfig, StreamModel
from boggers.train.average import WeightAverage
from boggers.train.loop import fit
from boggers.train.loss_config import LossConfig
from boggers.train.metrics import read_metrics
from boggers.train.objective import objective
from boggers.train.optim import OptimConfig
from boggers.train.prepare import Prepared, prepare
from boggers.train.run import RunConfig
from tests.train.test_resume import assert_same_run

MakeConfig = Callable[..., RunConfig]

SMALL = StreamConfig(
    state_dim=16,
    num_stages=2,
    num_waves=2,
    num_dynamics_steps=2,
    memory_patterns=12,
    sequence_length=16,
    readout_dropout=0.1,
    random_steps=True,
)


@pytest.fixture
def stream_config(make_config: MakeConfig) -> RunConfig:
    base = make_config(max_steps=30, batch_size=4, eval_every=10, save_every=7)
    optim = OptimConfig(optimizer="muon", lr=3e-3, embedding_lr=1e-2, schedule="wsd")
    return dataclasses.replace(base, architecture="stream", model=SMALL, optim=optim)


def within(config: RunConfig, folder: Path, **train: object) -> RunConfig:
    changed = dataclasses.replace(config.train, out=folder, **train)  # type: ignore[arg-type]
    return dataclasses.replace(config, train=changed)


def trained(config: RunConfig) -> Prepared:
    prepared = prepare(config)
    fit(prepared, validate=prepared.validate)
    return prepared


def test_a_stream_learns(stream_config: RunConfig, tmp_path: Path) -> None:
    prepared = trained(within(stream_config, tmp_path / "a", max_steps=120, eval_every=60))
    rows = read_metrics(prepared.run.metrics)
    measured = [float(row["val_ce"]) for row in rows if row["val_ce"]]
    # 5.5 nats is guessing among 257 ids; the corpus has twelve words.
    assert measured[-1] < 1.8
    assert int(rows[-1]["tokens"]) > 7000
    assert float(rows[-1]["residual"]) > 0
    taken = [float(row["steps_used"]) for row in rows]
    assert 2 <= min(taken) < max(taken) <= 4


@pytest.mark.parametrize("kept", [{}, {"ema_decay": 0.9, "precision": "bf16"}])
def test_a_stream_resumes_bit_for_bit(
    stream_config: RunConfig, tmp_path: Path, kept: dict[str, object]
) -> None:
    stream_config = within(stream_config, tmp_path, **kept)
    whole = prepare(within(stream_config, tmp_path / "whole"))
    undisturbed = whole, fit(whole, validate=whole.validate)
    schedule_of_the_whole = within(stream_config, tmp_path / "cut")
    first = prepare(schedule_of_the_whole)

    class Stop:
        def on_step(self, event: object) -> None:
            if first_step(event) == 17:
                raise KeyboardInterrupt

        on_eval = on_epoch = on_end = lambda *_: None

    with pytest.raises(KeyboardInterrupt):
        fit(first, [Stop()], first.validate)  # type: ignore[list-item]
    again = prepare(within(stream_config, tmp_path / "cut", resume="auto"))
    assert 0 < again.progress.step <= 17
    assert_same_run((again, fit(again, validate=again.validate)), undisturbed)
    if again.average is not None and whole.average is not None:
        for name, average in whole.average.tensors().items():
            assert torch.equal(again.average.tensors()[name], average)


def first_step(event: object) -> int:
    return int(event.step)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_mode": "trajectory"},
        {"token_auxiliary_weight": 0.1},
        {"readout_auxiliary_weight": 0.1},
    ],
)
def test_losses_of_windows_are_refused(
    stream_config: RunConfig, settings: dict[str, object]
) -> None:
    loss = LossConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a loss of the window model"):
        prepare(dataclasses.replace(stream_config, loss=loss))


def test_every_loss_of_a_stream_changes_the_total() -> None:
    model = StreamModel(
        dataclasses.replace(SMALL, readout_dropout=0.0, random_steps=False),
        20,
        torch.Generator().manual_seed(0),
    )
    for stage in model.stages:
        torch.nn.init.ones_(stage.memory.value)  # an untrained memory has no energy
    ids = torch.randint(20, (3, 17), generator=torch.Generator().manual_seed(1))
    batch = Batch(ids[:, :-1], ids[:, 1:])

    def total(**settings: float) -> float:
        noise = torch.Generator().manual_seed(2)
        return float(objective(model, batch, LossConfig(**settings), noise).total.detach())  # type: ignore[arg-type]

    assert len({total(), total(label_smoothing=0.2), total(energy_weight=0.5)}) == 3


def test_another_architecture_does_not_continue_a_run(
    stream_config: RunConfig, make_config: MakeConfig, tmp_path: Path
) -> None:
    trained(within(stream_config, tmp_path / "run", max_steps=2))
    with pytest.raises(UserError, match=r"begin|continued|architecture"):
        prepare(within(make_config(), tmp_path / "run", resume="auto"))


def test_a_text_too_short_for_a_sequence_is_refused(stream_config: RunConfig) -> None:
    long = dataclasses.replace(SMALL, sequence_length=5000)
    with pytest.raises(UserError, match="--sequence-length"):
        prepare(dataclasses.replace(stream_config, model=long))


def test_the_average_is_what_is_measured_and_used(stream_config: RunConfig, tmp_path: Path) -> None:
    prepared = trained(within(stream_config, tmp_path / "run", ema_decay=0.99))
    assert prepared.average is not None
    engine = Engine.load(tmp_path / "run")
    for name, weight in engine.model.named_parameters():
        assert torch.equal(weight, prepared.average.tensors()[name])
        assert not torch.equal(weight, prepared.model.get_parameter(name))
    held_out = prepared.split.held_out
    found = score(engine.model, prepared.corpus.ids, held_out.start, held_out.stop)
    measured = float(read_metrics(prepared.run.metrics)[-1]["val_ce"])
    assert measured == pytest.approx(found.nats / found.tokens, rel=1e-6)


def test_an_average_follows_closely_at_first_and_slowly_later() -> None:
    line = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(line.weight)
    average = WeightAverage(line, 0.9)
    torch.nn.init.ones_(line.weight)
    average.update(0)
    torch.testing.assert_close(average.tensors()["weight"], torch.tensor([[0.9]]))
    average.update(10_000)
    torch.testing.assert_close(average.tensors()["weight"], torch.tensor([[0.91]]))
    with average.in_place():
        torch.testing.assert_close(line.weight.detach(), torch.tensor([[0.91]]))
    assert line.weight.item() == 1.0


def test_bf16_multiplies_narrowly_and_keeps_wide_weights(
    stream_config: RunConfig, tmp_path: Path
) -> None:
    runs = [
        trained(within(stream_config, tmp_path / name, precision=name, max_steps=10))
        for name in ("fp32", "bf16", "auto")
    ]
    wide, narrow, automatic = (dict(run.model.named_parameters()) for run in runs)
    assert all(weight.dtype == torch.float32 for weight in narrow.values())
    assert not torch.equal(wide["embedding"], narrow["embedding"])
    torch.testing.assert_close(wide["embedding"], narrow["embedding"], rtol=0.1, atol=0.05)
    assert torch.equal(wide["embedding"], automatic["embedding"])
