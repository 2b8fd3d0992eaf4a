"""A run that is killed twenty times at random moments ends with the bits of an undisturbed one."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from boggers.model.stream import StreamConfig
from boggers.model.token_config import TokenConfig
from boggers.train.loop import fit
from boggers.train.loss_config import LossConfig
from boggers.train.metrics import TIMING_COLUMNS, read_metrics
from boggers.train.prepare import prepare
from boggers.train.run import Run, RunConfig

MakeConfig = Callable[..., RunConfig]

CHILD = Path(__file__).parent / "together.py"
KILLS = 20
STEPS = 400
PATIENCE = 100.0
"""Seconds in which a process must have taken some steps."""

# Everything that draws random numbers or keeps something between steps is on.
SETTINGS: dict[str, object] = {
    "repulsion_weight": 0.1,
    "embedding_dropout": 0.1,
    "readout_dropout": 0.1,
    "breaks": True,
    "ema_decay": 0.9,
    "batch_size": 12,
    "max_steps": STEPS,
    "max_epochs": 99,
    "eval_every": 25,
    "save_every": 3,
    "log_every": 1,
}

TOKEN = TokenConfig(state_dim=8, num_waves=2, sequence_length=4, breaks=True)
STREAM = StreamConfig(
    state_dim=8,
    num_stages=1,
    sequence_length=8,
    memory_patterns=8,
    num_waves=2,
    breaks=True,
    random_steps=True,
    phrase_rows=16,
    phrase_width=4,
    succession_orders=2,
    recency=True,
)


def ends(folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, str]]]:
    """Every tensor of the last checkpoint, and every row that was measured."""
    last = Run(folder).checkpoints / f"step-{STEPS:07d}"
    tensors = {
        f"{file.name} {name}": value
        for file in last.glob("*.safetensors")
        for name, value in load_file(file).items()
    }
    rows = [
        {name: cell for name, cell in row.items() if name not in TIMING_COLUMNS}
        for row in read_metrics(Run(folder).metrics)
    ]
    return tensors, rows


def taken(folder: Path) -> int:
    metrics = Run(folder).metrics
    rows = read_metrics(metrics) if metrics.is_file() else []
    return int(rows[-1]["step"]) if rows else 0


def killed(config: Path, folder: Path, chosen: random.Random) -> bool:
    """Train until some steps were taken, and a moment longer; whether it was still alive."""
    before = taken(folder)
    goal = before + chosen.randint(1, 2 * STEPS // (3 * KILLS))
    process = subprocess.Popen([sys.executable, str(CHILD), str(config)])
    deadline = time.monotonic() + PATIENCE
    try:
        while process.poll() is None and taken(folder) < goal:
            assert time.monotonic() < deadline, "it took no steps"
            time.sleep(0.002)
        time.sleep(chosen.random() * 0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("architecture", ["window", "token", "stream"])
def test_twenty_deaths_change_no_bit(
    make_config: MakeConfig, tmp_path: Path, architecture: str
) -> None:
    config = make_config(**SETTINGS, out=tmp_path / "whole")
    if architecture != "window":
        small = TOKEN if architecture == "token" else STREAM
        config = dataclasses.replace(
            config, architecture=architecture, model=small, loss=LossConfig()
        )
    prepared = prepare(config)
    fit(prepared, validate=prepared.validate)
    folder, file = tmp_path / "killed", tmp_path / "config.json"
    train = dataclasses.replace(config.train, out=folder, resume="auto")
    file.write_text(json.dumps(dataclasses.replace(config, train=train).to_json()))
    chosen = random.Random(3)
    assert all(killed(file, folder, chosen) for _ in range(KILLS))
    assert taken(folder) < STEPS
    subprocess.run([sys.executable, str(CHILD), str(file)], check=True)
    (left, rows), (right, expected) = ends(folder), ends(tmp_path / "whole")
    assert left.keys() == right.keys()
    assert [name for name in right if not torch.equal(left[name], right[name])] == []
    assert rows == expected
