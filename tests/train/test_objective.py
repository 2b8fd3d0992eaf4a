import dataclasses
from collections.abc import Callable

import pytest
import torch

from boggers.data.windows import Batch
from boggers.errors import UserError
from boggers.model.window import WindowModel
from boggers.train import losses
from boggers.train.loss import Loss
from boggers.train.loss_config import LossConfig
from boggers.train.objective import objective
from boggers.train.run import RunConfig

MakeConfig = Callable[..., RunConfig]

VOCABULARY = 11


@pytest.fixture
def model(make_config: MakeConfig) -> WindowModel:
    generator = torch.Generator().manual_seed(0)
    quiet = make_config(embedding_dropout=0.0, readout_dropout=0.0).model
    return WindowModel(quiet, VOCABULARY, generator)


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(VOCABULARY, (6, 5), generator=generator)
    return Batch(ids[:, :4], ids[:, 4])


def evaluate(model: WindowModel, batch: Batch, **settings: object) -> Loss:
    config = LossConfig(**settings)  # type: ignore[arg-type]
    return objective(model, batch, config, torch.Generator().manual_seed(2))


def test_the_default_is_plain_cross_entropy_alone(model: WindowModel, batch: Batch) -> None:
    loss = evaluate(model, batch)
    logits = model(batch.contexts).logits
    torch.testing.assert_close(loss.total, losses.plain_cross_entropy(logits, batch.targets))
    assert list(loss.parts) == ["train_ce"]
    assert loss.parts["train_ce"] == loss.total
    assert set(loss.settling) == {"residual", "steps_used", "breaks", "tension", "energy"}


def test_the_total_is_the_weighted_sum_of_the_parts(model: WindowModel, batch: Batch) -> None:
    weights = {
        "trajectory_contrast": 0.7,
        "token_auxiliary": 0.3,
        "readout_auxiliary": 0.2,
        "energy_regulariser": 0.11,
    }
    loss = evaluate(
        model,
        batch,
        trajectory_contrast_weight=0.7,
        token_auxiliary_weight=0.3,
        readout_auxiliary_weight=0.2,
        energy_weight=0.11,
    )
    assert set(loss.parts) == {"train_ce", *weights}
    expected = loss.parts["train_ce"] + sum(w * loss.parts[name] for name, w in weights.items())
    torch.testing.assert_close(loss.total.detach(), expected)


def test_trajectory_mode_weighs_as_documented(model: WindowModel, batch: Batch) -> None:
    loss = evaluate(model, batch, loss_mode="trajectory")
    parts = loss.parts
    expected = (
        parts["trajectory_contrast"]
        + 0.2 * parts["token_auxiliary"]
        + 0.15 * parts["readout_auxiliary"]
        + 0.001 * parts["energy_regulariser"]
    )
    torch.testing.assert_close(loss.total.detach(), expected)


def test_a_given_weight_beats_the_modes(model: WindowModel, batch: Batch) -> None:
    loss = evaluate(model, batch, loss_mode="trajectory", readout_auxiliary_weight=0.0)
    assert "readout_auxiliary" not in loss.parts


def test_the_path_is_kept_only_for_the_contrast(model: WindowModel, batch: Batch) -> None:
    asked: list[bool] = []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: asked.append(kwargs["keep_path"]), with_kwargs=True
    )
    evaluate(model, batch, readout_auxiliary_weight=1.0)
    evaluate(model, batch, trajectory_contrast_weight=1.0)
    assert asked == [False, True]


def test_smoothing_is_trained_on_but_not_reported(model: WindowModel, batch: Batch) -> None:
    plain, smoothed = evaluate(model, batch), evaluate(model, batch, label_smoothing=0.3)
    assert smoothed.parts["train_ce"] == plain.parts["train_ce"]
    assert smoothed.total != plain.total


@pytest.mark.parametrize(
    "settings",
    [
        {"trajectory_contrast_weight": 1.0, "trajectory_margin": 1.0},
        {"token_auxiliary_weight": 1.0},
        {"readout_auxiliary_weight": 1.0},
        {"energy_weight": 1.0},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_every_term_teaches_the_model(
    model: WindowModel, batch: Batch, settings: dict[str, float]
) -> None:
    plain, more = evaluate(model, batch), evaluate(model, batch, **settings)
    parameters = [p for p in model.parameters() if p.requires_grad]
    before = torch.autograd.grad(plain.total, parameters, allow_unused=True)
    after = torch.autograd.grad(more.total, parameters, allow_unused=True)
    difference = sum(
        ((torch.zeros(()) if b is None else b) - a).abs().sum().item()
        for a, b in zip(after, before, strict=True)
        if a is not None
    )
    assert difference > 1e-6


BASE = {"trajectory_contrast_weight": 1.0, "token_auxiliary_weight": 1.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_mode": "trajectory"},
        {"label_smoothing": 0.1},
        {"trajectory_contrast_weight": 0.5},
        {"trajectory_margin": 1.5},
        {"trajectory_temperature": 0.5},
        {"multi_negative": True},
        {"multi_negative": True, "num_negatives": 9},
        {"token_auxiliary_weight": 0.5},
        {"token_bigram_bias": 0.5},
        {"token_entropy_bonus": 0.5},
        {"readout_auxiliary_weight": 0.5},
        {"energy_weight": 0.5},
    ],
    ids=str,
)
def test_no_setting_is_dead(model: WindowModel, batch: Batch, settings: dict[str, object]) -> None:
    settings = {"trajectory_margin": 1.0, **BASE, **settings}
    reference: dict[str, object] = {"trajectory_margin": 1.0, **BASE}
    if "num_negatives" in settings:
        reference["multi_negative"] = True
    assert evaluate(model, batch, **settings).total != evaluate(model, batch, **reference).total


OF_TARGETS = {"guidance_from_embed": True}
FROM_ELSEWHERE = {"guidance_states", "guidance_from_embed", "guidance_batch"}
"""Where target states come from: `tests/train/test_extra_losses.py` and the flags' tests."""


@pytest.mark.parametrize(
    ("reference", "settings"),
    [
        ({}, {"intermediate_weight": 0.5}),
        ({}, {"guidance_nudge": 0.5, **OF_TARGETS}),
        ({}, {"guidance_weight": 0.5, **OF_TARGETS}),
        ({}, {"anchor_contrast_weight": 0.5}),
        ({"anchor_contrast_weight": 0.5}, {"anchor_contrast_negatives": 1}),
        ({"anchor_contrast_weight": 0.5}, {"anchor_contrast_margin": 0.5}),
        ({}, {"head_diversity_weight": 0.5}),
        ({}, {"interaction_weight": 0.5}),
        # Fresh weights predict evenly, with more entropy than the usual floor.
        ({"entropy_floor": 3.0}, {"entropy_floor_weight": 0.5}),
        ({"entropy_floor_weight": 0.5}, {"entropy_floor": 3.0}),
        ({}, {"repulsion_weight": 0.5}),
    ],
    ids=str,
)
def test_no_extra_setting_is_dead(
    make_config: MakeConfig,
    batch: Batch,
    reference: dict[str, object],
    settings: dict[str, object],
) -> None:
    config = make_config(dynamics="simple", simple_num_heads=2, window_interaction=True).model
    model = WindowModel(config, VOCABULARY, torch.Generator().manual_seed(0)).eval()
    states = model.embed(batch.contexts).detach().flip(0)
    led = dataclasses.replace(batch, states=states)
    earlier = {"repulsion": states[:2, -1]}

    def total(given: dict[str, object]) -> float:
        noise = torch.Generator().manual_seed(2)
        losses_of = LossConfig(**given)  # type: ignore[arg-type]
        return float(objective(model, led, losses_of, noise, earlier).total.detach())

    assert total({**reference, **settings}) != total(reference)


def test_all_settings_are_covered_above() -> None:
    main = test_no_setting_is_dead.pytestmark[0].args[1]
    extra = [settings for _, settings in test_no_extra_setting_is_dead.pytestmark[0].args[1]]
    covered = {name for settings in (*main, *extra) for name in settings}
    assert covered | FROM_ELSEWHERE == {field.name for field in dataclasses.fields(LossConfig)}


@pytest.mark.parametrize(
    ("flag", "settings"),
    [
        ("--label-smoothing", {"label_smoothing": 1.0}),
        ("--phase05-num-negatives", {"num_negatives": 0}),
        ("--phase05-traj-temperature", {"trajectory_temperature": 0.0}),
        ("--token-entropy-bonus", {"token_entropy_bonus": -1.0}),
        ("--trajectory-contrast-weight", {"trajectory_contrast_weight": -1.0}),
        ("--token-aux-ce", {"token_auxiliary_weight": -0.1}),
        ("--readout-aux-alpha", {"readout_auxiliary_weight": float("nan")}),
        ("--phase05-energy-reg-weight", {"energy_weight": -1.0}),
    ],
)
def test_a_bad_setting_is_refused_by_its_flag(flag: str, settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"^{flag} must be"):
        LossConfig(**settings)  # type: ignore[arg-type]


def test_some_loss_must_have_weight() -> None:
    with pytest.raises(UserError, match="Some loss must have weight"):
        LossConfig(
            loss_mode="trajectory",
            trajectory_contrast_weight=0.0,
            token_auxiliary_weight=0.0,
            readout_auxiliary_weight=0.0,
            energy_weight=0.0,
        )
