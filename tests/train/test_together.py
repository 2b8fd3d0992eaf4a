"""One run on several processes: the same losses, no window lost, no death that costs a run."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from boggers.errors import UserError
from boggers.model.stream import StreamConfig
from boggers.model.token_config import TokenConfig
from boggers.model.weights import load_model
from boggers.model.window import WindowConfig
from boggers.parallel import ALONE, World
from boggers.train.loop import fit
from boggers.train.loss_config import LossConfig
from boggers.train.metrics import read_metrics
from boggers.train.prepare import prepare
from boggers.train.run import RunConfig
from boggers.train.share import parts, require_whole_batches
from boggers.train.step_folders import latest
from tests.train.processes import ended, reached, started

MakeConfig = Callable[..., RunConfig]

CHILD = str(Path(__file__).parent / "together.py")
STREAM = StreamConfig(
    num_basins=2,
    fast_values=True,
    state_dim=16,
    num_stages=2,
    sequence_length=16,
    memory_patterns=12,
    num_dynamics_steps=2,
    phrase_rows=64,
    phrase_width=4,
    phrase_hashes=2,
    succession_orders=2,
    recency=True,
)
WINDOW = WindowConfig(
    state_dim=16,
    num_waves=2,
    window_size=6,
    num_dynamics_steps=3,
    embedding_dropout=0.0,
    readout_dropout=0.0,
)
TOKEN = TokenConfig(
    state_dim=8,
    num_waves=2,
    sequence_length=8,
    wave_noise=False,
    embedding_dropout=0.0,
    readout_dropout=0.0,
)
STEPS = 200

# Seven rows do not divide evenly by two processes, and the last batch of an epoch is smaller.
SETTINGS: dict[str, object] = {
    "optimizer": "muon",
    "lr": 2e-3,
    "muon_lr": 0.01,
    "warmup_steps": 10,
    "betas": (0.9, 0.95),
    "weight_decay": 0.1,
    "grad_clip": 1.0,
    "ema_decay": 0.98,
    "batch_size": 7,
    "log_every": 1,
    "max_steps": STEPS,
    "eval_every": 50,
    "save_every": 40,
}


def losses(folder: Path) -> torch.Tensor:
    rows = read_metrics(folder / "metrics.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    return torch.tensor([float(row["loss"]) for row in rows], dtype=torch.float64)


def alone(config: RunConfig) -> None:
    prepared = prepare(config)
    fit(prepared, validate=prepared.validate)


def together(config: RunConfig, folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(config.to_json()))
    with started([CHILD, str(file)]) as running:
        ends = ended(running)
    assert [status for status, _ in ends] == [0, 0], ends


@pytest.fixture(scope="module")
def make(
    make_config_in: Callable[[Path], MakeConfig], tmp_path_factory: pytest.TempPathFactory
) -> MakeConfig:
    make_config = make_config_in(tmp_path_factory.mktemp("together"))

    def make(**more: object) -> RunConfig:
        config = make_config(**(SETTINGS | more))
        return dataclasses.replace(config, architecture="stream", model=STREAM)

    return make


@pytest.fixture(scope="module")
def curve(make: MakeConfig) -> torch.Tensor:
    """What one process measures in every step."""
    config = make()
    alone(config)
    assert config.train.out is not None
    return losses(config.train.out)


def test_two_processes_measure_what_one_does(
    make: MakeConfig, curve: torch.Tensor, tmp_path: Path
) -> None:
    together(make(out=tmp_path / "run"), tmp_path)
    both = losses(tmp_path / "run")
    assert len(both) == STEPS
    assert both[-1] < both[0] - 0.5
    assert (both - curve).abs().max() <= 1e-5


@pytest.mark.slow
def test_two_processes_measure_what_one_does_of_windows(make: MakeConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(make(optimizer="adamw"), architecture="window", model=WINDOW)
    train = config.train
    for name, run in (("one", alone), ("two", lambda config: together(config, tmp_path))):
        run(dataclasses.replace(config, train=dataclasses.replace(train, out=tmp_path / name)))
    assert (losses(tmp_path / "two") - losses(tmp_path / "one")).abs().max() <= 1e-5


def test_a_run_goes_on_with_another_number_of_processes_and_another_strategy(
    make: MakeConfig, curve: torch.Tensor, tmp_path: Path
) -> None:
    here = {"out": tmp_path / "run", "resume": "auto"}
    together(make(**here, max_steps=70, strategy="fsdp"), tmp_path)
    newest = latest(tmp_path / "run" / "checkpoints").path
    assert newest is not None
    assert len(list(newest.glob("shard-*.safetensors"))) == 2
    alone(make(**here, max_steps=130, checkpoint_format="sharded"))
    together(make(**here), tmp_path)
    both = losses(tmp_path / "run")
    assert len(both) == STEPS
    assert (both - curve).abs().max() <= 1e-5


def test_parts_of_a_batch_one_after_another_are_the_batch(
    make: MakeConfig, curve: torch.Tensor, tmp_path: Path
) -> None:
    alone(make(out=tmp_path / "run", max_steps=60, micro_batch_size=2))
    assert (losses(tmp_path / "run") - curve[:60]).abs().max() <= 1e-5


@pytest.fixture(params=["token", "window"])
def carrying(request: pytest.FixtureRequest, make: MakeConfig, tmp_path: Path) -> RunConfig:
    """A run whose steps go on from what the one before left: lanes, or states to keep away from."""
    config = make(out=tmp_path / "one", optimizer="adamw", max_steps=12, batch_size=5)
    if request.param == "token":
        return dataclasses.replace(config, architecture="token", model=TOKEN)
    kept_away = LossConfig(repulsion_weight=0.5)
    return dataclasses.replace(config, architecture="window", model=WINDOW, loss=kept_away)


def into(config: RunConfig, folder: Path, **more: object) -> RunConfig:
    train = dataclasses.replace(config.train, out=folder)
    parallel = dataclasses.replace(config.parallel, **more)  # type: ignore[arg-type]
    return dataclasses.replace(config, train=train, parallel=parallel)


def test_parts_carry_on_what_the_whole_batch_would(carrying: RunConfig, tmp_path: Path) -> None:
    alone(carrying)
    alone(into(carrying, tmp_path / "parts", micro_batch_size=2))
    one, parted = losses(tmp_path / "one"), losses(tmp_path / "parts")
    assert (parted - one).abs().max() <= 1e-5


@pytest.mark.slow
def test_processes_carry_on_what_one_would(carrying: RunConfig, tmp_path: Path) -> None:
    alone(carrying)
    together(into(carrying, tmp_path / "two"), tmp_path)
    assert (losses(tmp_path / "two") - losses(tmp_path / "one")).abs().max() <= 1e-5
    sharded = into(carrying, tmp_path / "cut", checkpoint_format="sharded")
    together(
        dataclasses.replace(sharded, train=dataclasses.replace(sharded.train, max_steps=5)),
        tmp_path,
    )
    train = dataclasses.replace(sharded.train, resume="auto")
    alone(dataclasses.replace(sharded, train=train))
    assert (losses(tmp_path / "cut") - losses(tmp_path / "one")).abs().max() <= 1e-5


def test_records_of_single_rows_refuse_batches_in_parts(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    two = World(rank=0, size=2)
    for settings in ({"log_metrics": True}, {"metrics_fast_csv": tmp_path / "fast.csv"}):
        config = make_config(**settings)
        require_whole_batches(config, World())
        for parted, world in ((config, two), (into(config, tmp_path, micro_batch_size=4), ALONE)):
            with pytest.raises(UserError, match="takes batches in parts"):
                require_whole_batches(parted, world)
    spread = into(make_config(epoch_metrics_csv=tmp_path / "e.csv"), tmp_path, strategy="fsdp")
    with pytest.raises(UserError, match="spreads over processes"):
        require_whole_batches(spread, two)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("most", [None, 1, 3])
def test_every_row_of_an_epoch_belongs_to_one_part_of_one_process(
    make: MakeConfig, tmp_path: Path, size: int, most: int | None
) -> None:
    prepared = prepare(make(out=tmp_path / "run"))
    seen: list[int] = []
    for index in range(prepared.steps_per_epoch):
        n = prepared.rows_of(index)
        shares = [parts(n, World(rank=rank, size=size), most) for rank in range(size)]
        assert len({len(share) for share in shares}) == 1
        rows = [row for share in shares for p in share if p.weight for row in range(n)[p.rows]]
        assert rows == list(range(n))
        assert sum(p.weight for share in shares for p in share) == pytest.approx(1.0)
        seen += [index * prepared.config.rows_per_step + row for row in rows]
    assert seen == list(range(len(prepared.rows)))


def command(corpus: Path, folder: Path, *more: str) -> list[str]:
    """A run that does not end by itself."""
    text = f"--corpus {corpus} --cache-dir {folder / 'cache'} --tokenizer byte"
    model = "--architecture stream --state-dim 16 --num-stages 1 --sequence-length 16"
    course = "--batch-size 6 --max-steps 1000000 --log-every 1 --save-every 5 --device cpu"
    words = f"-m boggers train {text} {model} {course} --out {folder / 'run'} --resume auto"
    return [*words.split(), *more]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_lost_process_ends_the_run_with_a_sentence_and_it_goes_on(
    corpus: Path, tmp_path: Path, strategy: str
) -> None:
    metrics, checkpoints = tmp_path / "run" / "metrics.csv", tmp_path / "run" / "checkpoints"
    arguments = command(corpus, tmp_path, "--strategy", strategy)
    with started(arguments) as (first, second):
        reached(metrics, 12)
        second.send_signal(signal.SIGKILL)
        (status, said), (killed, _) = ended([first, second])
    assert (status, killed) == (2, -signal.SIGKILL)
    assert "another one was lost" in said
    assert "--resume auto" in said
    assert "Traceback" not in said
    found = latest(checkpoints)
    assert found.path is not None
    assert found.skipped == ()
    with started(arguments) as (first, second):
        step = reached(metrics, 25)
        second.send_signal(signal.SIGTERM)
        ends = ended([first, second])
    assert [status for status, _ in ends] == [0, 0], ends
    after = latest(checkpoints).path
    assert after is not None
    assert int(after.name.removeprefix("step-")) >= step
    assert load_model(after).vocab_size == 257


def test_a_world_without_an_address_is_refused_in_a_sentence(corpus: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *command(corpus, tmp_path)],
        env=os.environ | {"WORLD_SIZE": "2", "RANK": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "MASTER_ADDR" in done.stderr
    assert "Traceback" not in done.stderr
