"""The terms that are off unless asked for."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from boggers.errors import UserError
from boggers.field.drift import head_diversity
from boggers.model.window import WindowConfig, WindowModel
from boggers.train.extra_losses import (
    REMEMBERED,
    ExtraLosses,
    anchor_contrast,
    entropy_floor_penalty,
    guidance,
    interaction_penalty,
    intermediate_cross_entropy,
    remembered,
    repulsion,
)
from boggers.train.guidance import make_guidance
from boggers.train.loop import fit
from boggers.train.loss_config import LossConfig
from boggers.train.losses import contrast
from boggers.train.metrics import read_metrics
from boggers.train.prepare import prepare
from boggers.train.run import RunConfig

MakeConfig = Callable[..., RunConfig]

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "scalars.json").read_text(encoding="utf-8")
)


CPU = torch.device("cpu")


def noise(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("negatives", ["rolled"])
def test_the_hinge_is_the_originals(negatives: str) -> None:
    golden = GOLDEN["contrastive"]
    k = torch.arange(4 * 3 * 8, dtype=torch.float64)
    a = torch.sin(0.3 * k).view(4, -1)
    b = (torch.sin(0.3 * k + 0.9) + 0.5 * torch.cos(0.05 * k)).view(4, -1)
    like = torch.cosine_similarity(a, b)
    unlike = torch.cosine_similarity(a, b.roll(1, dims=0))
    assert float(like.mean()) == pytest.approx(golden["cos_pos"], rel=1e-9)
    assert float(unlike.mean()) == pytest.approx(golden["cos_neg"], rel=1e-9)
    assert float(contrast(like, unlike, margin=0.2)) == pytest.approx(golden["tau_1"], rel=1e-9)
    # There the temperature cancelled; here it does not.
    assert golden["tau_1"] == golden["tau_0.5"]
    soft = contrast(like, unlike, margin=0.2, temperature=0.5)
    assert float(soft) > golden["tau_1"]


def test_intermediate_cross_entropy_is_the_mean_over_steps() -> None:
    first, second = torch.randn(3, 5, generator=noise()), torch.randn(3, 5, generator=noise(2))
    targets = torch.tensor([0, 4, 2])
    each = [float(torch.nn.functional.cross_entropy(z, targets)) for z in (first, second)]
    found = intermediate_cross_entropy([first, second], targets)
    assert float(found) == pytest.approx(sum(each) / 2)


def test_guidance_holds_its_target_fixed() -> None:
    state = torch.zeros(2, 3, 4, requires_grad=True)
    target = torch.full((2, 3, 4), 2.0, requires_grad=True)
    guidance(state, target).backward()
    assert target.grad is None
    assert state.grad is not None
    assert float(state.grad.sum()) < 0


def test_the_pull_to_an_anchor_ends_and_never_falls_below_zero() -> None:
    anchors = torch.eye(6) * 3
    targets = torch.arange(6)
    near = anchor_contrast(anchors, targets, anchors, noise(), negatives=4, margin=1.0)
    assert float(near) == 0.0
    away = anchor_contrast(-anchors, targets, anchors, noise(), negatives=4, margin=1.0)
    assert float(away) > 0.0


def test_the_right_anchor_learns_and_the_others_do_not() -> None:
    anchors = torch.randn(6, 4, generator=noise()).requires_grad_()
    last = torch.randn(1, 4, generator=noise(2))
    anchor_contrast(last, torch.tensor([2]), anchors, noise(), negatives=3, margin=9.0).backward()
    assert anchors.grad is not None
    assert anchors.grad.abs().sum(dim=1).nonzero().flatten().tolist() == [2]


def test_interaction_is_measured_from_the_identity() -> None:
    assert float(interaction_penalty(torch.eye(3))) == 0.0
    assert float(interaction_penalty(torch.zeros(3, 3))) == 3.0


def test_certain_predictions_are_below_the_floor_and_calm_windows_have_a_higher_one() -> None:
    certain = torch.tensor([[50.0, 0.0, 0.0]])
    calm, tense = torch.tensor([0.0]), torch.tensor([9.0])
    assert float(entropy_floor_penalty(certain, tense, 2.0)) == pytest.approx(2.0, abs=1e-6)
    expected = 2.0 * (1 + 0.5 * (1 - 1 / (1 + math.exp(8 * 0.12))))
    assert float(entropy_floor_penalty(certain, calm, 2.0)) == pytest.approx(expected, abs=1e-5)
    even = torch.zeros(1, 500)
    assert float(entropy_floor_penalty(even, tense, 2.0)) == 0.0


def test_repulsion_grows_with_likeness_and_its_gradient_leads_away() -> None:
    memory = torch.tensor([[1.0, 0.0]])
    last = torch.tensor([[1.0, 1.0]], requires_grad=True)
    value = repulsion(last, memory)
    value.backward()
    assert last.grad is not None
    moved = (last - 0.1 * last.grad).detach()
    assert float(repulsion(moved, memory)) < float(value.detach())
    assert float(repulsion(last.detach(), memory[:0])) == 0.0


def test_the_latest_batches_are_remembered() -> None:
    memory = torch.zeros(0, 2)
    for number in range(REMEMBERED + 3):
        memory = remembered(memory, torch.full((4, 2), float(number)))
    assert memory[:, 0].tolist() == [float(n) for n in range(3, REMEMBERED + 3)]
    bad = remembered(memory, torch.full((4, 2), float("nan")))
    assert torch.isfinite(bad).all()


def test_heads_that_agree_are_alike() -> None:
    same = torch.ones(2, 1, 3, 4)
    assert float(head_diversity(same)) == pytest.approx(1.0)
    apart: Tensor = torch.eye(3, 4).expand(2, 1, 3, 4)
    assert float(head_diversity(apart)) == pytest.approx(0.0, abs=1e-7)
    with pytest.raises(UserError, match="two or more"):
        head_diversity(torch.ones(2, 1, 1, 4))


def window() -> WindowModel:
    config = WindowConfig(state_dim=8, num_waves=2, window_size=3, memory_patterns=4)
    return WindowModel(config, 7, noise())


@pytest.mark.parametrize("suffix", [".pt", ".npy"])
def test_targets_are_looked_up_by_the_number_of_the_window(suffix: str, tmp_path: Path) -> None:
    states = torch.randn(5, 3, 8, generator=noise())
    path = tmp_path / f"states{suffix}"
    if suffix == ".pt":
        torch.save(states, path)
    else:
        import numpy as np

        np.save(path, states.numpy())
    look_up = make_guidance(
        ExtraLosses(guidance_states=path, guidance_weight=1.0), window(), range(5), CPU
    )
    assert look_up is not None
    assert torch.equal(look_up(torch.tensor([4, 1]), torch.zeros(2, 3)), states[[4, 1]])


def test_targets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "states.pt"
    config = ExtraLosses(guidance_states=path, guidance_weight=1.0)
    with pytest.raises(UserError, match="does not exist"):
        make_guidance(config, window(), range(5), CPU)
    torch.save(torch.zeros(4, 3, 8), path)
    with pytest.raises(UserError, match=r"\(5, 3, 8\); it holds \(4, 3, 8\)"):
        make_guidance(config, window(), range(5), CPU)
    path.write_bytes(b"no tensor at all")
    with pytest.raises(UserError, match="cannot be read as a tensor"):
        make_guidance(config, window(), range(5), CPU)
    torch.save(print, path)
    with pytest.raises(UserError, match="cannot be read as a tensor"):
        make_guidance(config, window(), range(5), CPU)


def test_targets_of_the_embedding_stay_those_of_step_0() -> None:
    model = window()
    config = ExtraLosses(guidance_from_embed=True, guidance_weight=1.0, guidance_batch=2)
    look_up = make_guidance(config, model, range(5), CPU)
    contexts = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 6, 6]])
    before = model.embed(contexts).detach()
    with torch.no_grad():
        model.embedding.normal_(generator=noise(9))
    assert look_up is not None
    assert torch.equal(look_up(torch.arange(3), contexts), before)
    assert not torch.equal(model.embed(contexts).detach(), before)


def test_every_term_that_is_asked_for_has_its_column(make_config: MakeConfig) -> None:
    heads = {"dynamics": "simple", "simple_num_heads": 2, "window_interaction": True}
    weights = dict.fromkeys(
        (
            *("intermediate_weight", "anchor_contrast_weight", "head_diversity_weight"),
            *("interaction_weight", "entropy_floor_weight", "repulsion_weight"),
        ),
        0.1,
    )
    plain = make_config(max_steps=4, **heads)
    losses = LossConfig(guidance_from_embed=True, guidance_weight=0.1, **weights)  # type: ignore[arg-type]
    prepared = prepare(dataclasses.replace(plain, loss=losses))
    fit(prepared)
    (row, *_) = read_metrics(prepared.run.metrics)
    terms = ("intermediate_ce", "guidance_mse", "anchor_contrast", "head_diversity")
    for name in (*terms, "interaction_penalty", "entropy_floor_penalty", "repulsion"):
        assert math.isfinite(float(row[name])), name
