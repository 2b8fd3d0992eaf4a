"""A token model is trained by truncated backpropagation along lanes that remember."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from boggers.data.lanes import Lanes
from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.infer.score import score
from boggers.model.token import TokenConfig, TokenModel
from boggers.train.loop import fit
from boggers.train.loss_config import LossConfig
from boggers.train.metrics import read_metrics
from boggers.train.objective import objective
from boggers.train.prepare import Prepared, prepare
from boggers.train.run import RunConfig

MakeConfig = Callable[..., RunConfig]

SMALL = TokenConfig(state_dim=8, num_waves=2, sequence_length=8)


@pytest.fixture
def token_config(make_config: MakeConfig) -> RunConfig:
    base = make_config(max_steps=14, batch_size=8, save_every=5, lr=1e-2)
    return dataclasses.replace(base, architecture="token", model=SMALL)


def within(config: RunConfig, folder: Path, **train: object) -> RunConfig:
    changed = dataclasses.replace(config.train, out=folder, **train)  # type: ignore[arg-type]
    return dataclasses.replace(config, train=changed)


def trained(config: RunConfig) -> Prepared:
    prepared = prepare(config)
    fit(prepared, validate=prepared.validate)
    return prepared


def test_it_learns_and_what_it_knows_is_measured(token_config: RunConfig, tmp_path: Path) -> None:
    prepared = trained(within(token_config, tmp_path / "a", max_steps=60))
    rows = read_metrics(prepared.run.metrics)
    # 5.5 nats is guessing among 257 ids; the corpus has twelve words.
    assert float(rows[-1]["val_ce"]) < 4.0
    engine = Engine.load(prepared.run.folder)
    said = engine.generate("the fox", max_tokens=8, seed=3)
    assert said == engine.generate("the fox", max_tokens=8, seed=3)


def test_a_run_that_is_continued_in_mid_epoch_ends_with_the_same_bits(
    token_config: RunConfig, tmp_path: Path
) -> None:
    whole = trained(within(token_config, tmp_path / "whole"))
    trained(within(token_config, tmp_path / "cut", max_steps=5))
    continued = prepare(within(token_config, tmp_path / "cut", resume="auto"))
    assert continued.carried
    assert continued.progress.batch > 0
    fit(continued)
    for left, right in zip(whole.model.parameters(), continued.model.parameters(), strict=True):
        assert torch.equal(left, right)
    folders = [
        run / "checkpoints" / "step-0000014" for run in (tmp_path / "whole", tmp_path / "cut")
    ]
    left, right = (load_file(folder / "carried.safetensors") for folder in folders)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_lane_goes_on_from_where_it_stood(token_config: RunConfig) -> None:
    prepared = prepare(token_config)
    model, losses = prepared.model.eval(), LossConfig()
    assert isinstance(model, TokenModel)
    first, second = prepared.batch(0, 0), prepared.batch(0, 1)
    noise = torch.Generator().manual_seed(1)
    after = objective(model, first, losses, noise).carried
    carried = objective(model, second, losses, noise, after)
    whole = model(torch.cat([first.contexts, second.contexts], dim=1))
    expected = torch.nn.functional.cross_entropy(
        whole.logits[:, first.contexts.shape[1] :].flatten(0, 1), second.targets.flatten()
    )
    assert float(carried.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert not any(value.requires_grad for value in carried.carried.values())


def test_an_epoch_has_every_token_of_its_lanes_once() -> None:
    rows = Lanes(np.arange(1000), 3, 403, length=8, lanes=4)
    assert rows.steps == 12
    seen = torch.cat([rows.epoch_batch(1, 0, i, 4).contexts.flatten() for i in range(12)])
    assert len(seen.unique()) == len(seen) == 12 * 32
    first = rows.epoch_batch(1, 0, 0, 4)
    assert torch.equal(rows.epoch_batch(1, 0, 1, 4).contexts[:, 0], first.targets[:, -1])
    starts = {int(rows.epoch_batch(1, epoch, 0, 4).contexts[0, 0]) for epoch in range(8)}
    assert len(starts) > 1
    with pytest.raises(UserError, match="at least 33 training tokens"):
        Lanes(np.arange(1000), 0, 32, length=8, lanes=4)
    with pytest.raises(IndexError):
        rows.epoch_batch(1, 0, 12, 4)


def test_scoring_counts_every_token_once_and_hardly_depends_on_its_lanes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = TokenModel(SMALL, 11, torch.Generator().manual_seed(1)).eval()
    ids = torch.randint(11, (420,), generator=torch.Generator().manual_seed(2)).numpy()
    found = score(model, ids, 300, 420)
    assert found.tokens == 120
    with torch.no_grad():
        whole = model(torch.from_numpy(ids[:-1])[None])
        nats = torch.nn.functional.cross_entropy(
            whole.logits[0, 299:], torch.from_numpy(ids[300:]), reduction="sum"
        )
    assert found.nats == pytest.approx(float(nats), rel=1e-4)
    assert found.steps == pytest.approx(float(whole.settled("steps")[0, 299:].mean()), rel=1e-2)


@pytest.mark.parametrize(
    "loss",
    [
        LossConfig(loss_mode="trajectory"),
        LossConfig(repulsion_weight=1.0),
        LossConfig(interaction_weight=1.0),
    ],
)
def test_losses_of_windows_are_refused(token_config: RunConfig, loss: LossConfig) -> None:
    with pytest.raises(UserError, match="is a loss of the window model"):
        prepare(dataclasses.replace(token_config, loss=loss))


def test_losses_of_its_own_count(token_config: RunConfig) -> None:
    model_config = dataclasses.replace(SMALL, dynamics="simple", simple_num_heads=2)
    prepared = prepare(dataclasses.replace(token_config, model=model_config))
    batch = prepared.batch(0, 0)

    def total(**weights: float) -> tuple[float, dict[str, float]]:
        noise = torch.Generator().manual_seed(1)
        loss = objective(prepared.model, batch, LossConfig(**weights), noise)  # type: ignore[arg-type]
        return float(loss.total.detach()), {n: float(v) for n, v in loss.parts.items()}

    plain, _ = total()
    for flag, column in (
        ("energy_weight", "energy_regulariser"),
        ("head_diversity_weight", "head_diversity"),
    ):
        weighed, parts = total(**{flag: 0.5})
        assert weighed == pytest.approx(plain + 0.5 * parts[column], rel=1e-5)
