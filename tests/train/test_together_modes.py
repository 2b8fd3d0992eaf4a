"""Several processes in every mode: lower precision, fixed algorithms, a graph and a memory."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from boggers.graph.store import GraphStore
from boggers.train.loop import fit
from boggers.train.metrics import read_metrics
from boggers.train.prepare import prepare
from boggers.train.run import Run, RunConfig
from tests.train.conftest import MakeConfig
from tests.train.processes import ended, started
from tests.train.test_coupling import BOTH
from tests.train.test_together import CHILD, WINDOW

STEPS = 12

# Seven rows do not divide evenly by two processes.
SETTINGS: dict[str, object] = {"batch_size": 7, "max_steps": STEPS, "log_every": 1, "lr": 2e-3}


def together(config: RunConfig) -> Run:
    """Train on two processes; the run's folder."""
    assert config.train.out is not None
    file = config.train.out.parent / f"{config.train.out.name}.json"
    file.write_text(json.dumps(config.to_json()))
    with started([CHILD, str(file)]) as running:
        ends = ended(running)
    assert [status for status, _ in ends] == [0, 0], ends
    return Run(config.train.out)


def column(run: Run, name: str = "loss") -> torch.Tensor:
    values = [float(row[name]) for row in read_metrics(run.metrics)]
    return torch.tensor(values, dtype=torch.float64)


def weights(run: Run) -> dict[str, torch.Tensor]:
    """Every tensor of the last checkpoint."""
    last = run.checkpoints / f"step-{STEPS:07d}"
    return {
        f"{file.name} {name}": value
        for file in last.glob("*.safetensors")
        for name, value in load_file(file).items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fixed_algorithms_on_two_processes_give_the_same_bits_twice(
    make_config: MakeConfig, tmp_path: Path, precision: str
) -> None:
    def run(name: str) -> Run:
        config = make_config(**SETTINGS, out=tmp_path / name, precision=precision)
        parallel = dataclasses.replace(config.parallel, deterministic=True)
        return together(dataclasses.replace(config, parallel=parallel, model=WINDOW))

    one, two = run("one"), run("two")
    left, right = weights(one), weights(two)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
    assert torch.equal(column(one), column(two))


def test_two_processes_in_bf16_stay_near_one_in_fp32(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    def config(name: str, precision: str) -> RunConfig:
        made = make_config(**SETTINGS, out=tmp_path / name, precision=precision)
        return dataclasses.replace(made, model=WINDOW)

    whole = prepare(config("whole", "fp32"))
    fit(whole)
    half = column(together(config("half", "bf16")))
    apart = (half - column(whole.run)).abs().max()
    # bf16 keeps 8 bits: not the same losses, but the same to about a part in a hundred.
    assert 0 < apart <= 0.03


@pytest.mark.slow
def test_a_graph_and_a_memory_feel_two_processes_as_one(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    def config(name: str) -> RunConfig:
        made = make_config(**SETTINGS, out=tmp_path / name)
        return dataclasses.replace(made, model=WINDOW, graph=BOTH)

    whole = prepare(config("whole"))
    fit(whole)
    both = together(config("both"))
    assert (column(both) - column(whole.run)).abs().max() <= 1e-5
    for name in ("ts_fired", "ts_evolves", "memory_active", "memory_deep"):
        assert torch.equal(column(both, name), column(whole.run, name)), name
    assert (column(both, "ts_tension") - column(whole.run, "ts_tension")).abs().max() <= 1e-5
    with GraphStore(both.folder / "graph.sqlite") as store:
        store.check()
        assert len(store.history()) == STEPS
