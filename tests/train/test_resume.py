"""N + M steps equal N steps, a death, and M steps: on every weight, moment and random number."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from boggers.model.architectures import Model
from boggers.train.learner import step_seed
from boggers.train.loop import fit
from boggers.train.metrics import TIMING_COLUMNS, read_metrics
from boggers.train.observers import EpochEvent, EvalEvent, FitResult, StepEvent, Validation
from boggers.train.prepare import Prepared, prepare
from boggers.train.run import RunConfig

MakeConfig = Callable[..., RunConfig]

CHILD = Path(__file__).parent / "child.py"

# Everything that draws random numbers or keeps state between steps is on.
SETTINGS: dict[str, object] = {
    "trajectory_contrast_weight": 0.5,
    "embedding_dropout": 0.1,
    "readout_dropout": 0.1,
    "gaussian_breaks": True,
    "adaptive_coupling": True,
    "adaptive_energy_step": True,
    "lr_decay_every": 1,
    "schedule": "wsd",
    "warmup_steps": 3,
    "grad_clip": 1.0,
    "eval_every": 5,
    "save_every": 4,
    "batch_size": 64,
    "max_epochs": 2,
    "log_every": 3,
}

STEPS_PER_EPOCH = 14


def run(config: RunConfig) -> tuple[Prepared, FitResult]:
    prepared = prepare(config)
    return prepared, fit(prepared, validate=prepared.validate)


def bits(prepared: Prepared) -> dict[str, torch.Tensor]:
    values = dict(prepared.model.state_dict())
    for name, parameter in prepared.model.named_parameters():
        for slot, value in prepared.optimizer.state[parameter].items():
            values[f"{name}/{slot}"] = value
    return values


def state(result: FitResult) -> dict[str, object]:
    assert result.checkpoint is not None
    progress = json.loads((result.checkpoint / "state.json").read_text())["progress"]
    return {name: value for name, value in progress.items() if name != "seconds"}


def table(prepared: Prepared) -> list[dict[str, str]]:
    return [
        {name: cell for name, cell in row.items() if name not in TIMING_COLUMNS}
        for row in read_metrics(prepared.run.metrics)
    ]


def assert_same_run(
    resumed: tuple[Prepared, FitResult], undisturbed: tuple[Prepared, FitResult]
) -> None:
    left, right = bits(resumed[0]), bits(undisturbed[0])
    assert left.keys() == right.keys()
    for name in right:
        assert torch.equal(left[name], right[name]), name
    assert state(resumed[1]) == state(undisturbed[1])
    assert state(resumed[1])["random_state"]
    assert table(resumed[0]) == table(undisturbed[0])


@pytest.fixture(scope="module")
def undisturbed(
    make_config_in: Callable[[Path], MakeConfig], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Prepared, FitResult]:
    make_config = make_config_in(tmp_path_factory.mktemp("undisturbed"))
    prepared, result = run(make_config(**SETTINGS))
    assert (prepared.steps_per_epoch, result.step) == (STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH)
    return prepared, result


@pytest.mark.parametrize(
    ("moment", "step", "resumes_at"),
    [("step", 10, 8), ("step", 19, 16), ("saving", 11, 10)],
    ids=["mid-epoch", "second epoch", "while saving"],
)
def test_a_killed_run_continues_bit_for_bit(
    make_config: MakeConfig,
    tmp_path: Path,
    undisturbed: tuple[Prepared, FitResult],
    moment: str,
    step: int,
    resumes_at: int,
) -> None:
    config = make_config(**SETTINGS)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_json()))
    child = subprocess.run([sys.executable, str(CHILD), str(file), moment, str(step)])
    assert child.returncode == -signal.SIGKILL
    prepared = prepare(make_config(resume="auto", **SETTINGS))
    assert prepared.progress.step == resumes_at
    assert prepared.progress.batch != 0
    result = fit(prepared, validate=prepared.validate)
    assert_same_run((prepared, result), undisturbed)


class Interrupter:
    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number = step, number
        self.ended: list[FitResult] = []

    def on_step(self, event: StepEvent) -> None:
        if event.step == self.step:
            os.kill(os.getpid(), self.number)

    def on_eval(self, event: EvalEvent) -> None: ...
    def on_epoch(self, event: EpochEvent) -> None: ...

    def on_end(self, result: FitResult) -> None:
        self.ended.append(result)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_saves_and_continues_bit_for_bit(
    make_config: MakeConfig, undisturbed: tuple[Prepared, FitResult], number: signal.Signals
) -> None:
    prepared = prepare(make_config(**SETTINGS))
    interrupter = Interrupter(7, number)
    result = fit(prepared, [interrupter], prepared.validate)
    assert result.interrupted
    assert result.step == 7
    assert result.checkpoint == prepared.run.checkpoints / "step-0000007"
    assert interrupter.ended == [result]
    resumed = run(make_config(resume="auto", **SETTINGS))
    assert not resumed[1].interrupted
    assert_same_run(resumed, undisturbed)


@pytest.mark.parametrize("step", [10, 2 * STEPS_PER_EPOCH], ids=["on the way", "at the end"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_measurement_is_given_up_and_made_up_for(
    make_config: MakeConfig,
    undisturbed: tuple[Prepared, FitResult],
    number: signal.Signals,
    step: int,
) -> None:
    prepared = prepare(make_config(**SETTINGS))
    measured: list[int] = []

    def validate(model: Model, told: Callable[[int, int], None]) -> Validation:
        assert prepared.validate is not None
        if len(measured) == (step - 1) // 5:  # it is measured after every fifth step
            os.kill(os.getpid(), number)
            time.sleep(60)
        found = prepared.validate(model, told)
        measured.append(found.tokens)
        return found

    began = time.monotonic()
    result = fit(prepared, validate=validate)
    assert time.monotonic() - began < 50
    assert (result.interrupted, result.step, result.signal) == (True, step, number)
    assert result.checkpoint == prepared.run.checkpoints / f"step-{step:07d}"
    assert not any(row["val_ce"] for row in table(prepared) if int(row["step"]) == step)

    for _ in range(2):  # the second finds nothing left to do
        resumed = run(make_config(resume="auto", **SETTINGS))
        assert not resumed[1].interrupted
        assert resumed[1].best_ce == undisturbed[1].best_ce
        assert table(resumed[0]) == table(undisturbed[0])
        assert all(torch.equal(bits(resumed[0])[n], v) for n, v in bits(undisturbed[0]).items())
    assert_same_run(resumed, undisturbed)
    assert not prepare(make_config(resume="auto", **SETTINGS)).progress.owes


def test_resuming_twice_is_no_different(
    make_config: MakeConfig, undisturbed: tuple[Prepared, FitResult]
) -> None:
    for step in (5, 6, 17):
        prepared = prepare(make_config(resume="auto", **SETTINGS))
        fit(prepared, [Interrupter(step, signal.SIGTERM)], prepared.validate)
    resumed = run(make_config(resume="auto", **SETTINGS))
    assert_same_run(resumed, undisturbed)


def test_a_damaged_checkpoint_is_passed_over_and_the_older_one_gives_the_same_end(
    make_config: MakeConfig, undisturbed: tuple[Prepared, FitResult]
) -> None:
    prepared = prepare(make_config(**SETTINGS))
    fit(prepared, [Interrupter(9, signal.SIGTERM)], prepared.validate)
    newest = prepared.run.checkpoints / "step-0000009"
    (newest / "model.safetensors").write_bytes(b"")
    prepared = prepare(make_config(resume="auto", **SETTINGS))
    assert prepared.progress.step == 8
    assert len(prepared.damaged) == 1
    assert "step-0000009" in prepared.damaged[0]
    result = fit(prepared, validate=prepared.validate)
    assert_same_run((prepared, result), undisturbed)


def test_a_new_rate_is_honoured(make_config: MakeConfig) -> None:
    run(make_config(max_steps=4, log_every=1, lr=1e-3))
    prepared, _ = run(make_config(max_steps=6, log_every=1, lr=5e-4, resume="auto"))
    rates = [float(row["lr"]) for row in read_metrics(prepared.run.metrics)]
    assert rates == [1e-3] * 4 + [5e-4] * 2
    assert prepared.run.load_config().optim.lr == 5e-4


def test_a_finished_run_stays_as_it_is(make_config: MakeConfig) -> None:
    first, result = run(make_config(max_steps=5))
    again, second = run(make_config(max_steps=5, resume="auto"))
    assert second.step == 5
    assert second.checkpoint == result.checkpoint
    assert table(again) == table(first)
    assert all(torch.equal(bits(first)[name], value) for name, value in bits(again).items())


def test_the_random_state_witnesses_what_was_drawn(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = {"max_steps": 3, "trajectory_contrast_weight": 1.0}
    states = [
        state(run(make_config(out=tmp_path / str(i), **settings, **more))[1])["random_state"]
        for i, more in enumerate(({}, {}, {"embedding_dropout": 0.0}, {"seed": 9}))
    ]
    assert states[0] == states[1]
    assert len(set(states)) == 3


def test_random_numbers_of_a_step_depend_on_seed_and_step_alone() -> None:
    seeds = {step_seed(seed, step) for seed in range(20) for step in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(42, 7) == step_seed(42, 7)
