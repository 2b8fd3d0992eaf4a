"""The original's token path and its drifts, by its own numbers."""

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from boggers.field.drift import MultiHeadDrift, minkowski
from boggers.field.hierarchy import RATIO, TwoTimescaleDrift, phrase_ids
from boggers.field.waves import clamp_waves
from boggers.model.original_token import convert_token
from boggers.model.token import TokenConfig, TokenModel
from tests.model.golden import FOLDER, WEIGHTS, sine

GOLDEN: dict[str, Any] = {
    name: json.loads((FOLDER / f"{name}.json").read_text())
    for name in ("token_path", "tsllm_multihead", "tsllm_vectorized_step", "tsllm_hierarchy")
}
HEADS = GOLDEN["tsllm_multihead"]
STEP = GOLDEN["tsllm_vectorized_step"]


def close(ours: Tensor, golden: Any, tolerance: float = 1e-9) -> bool:
    expected = torch.tensor(golden, dtype=torch.float64)
    return bool((ours.detach() - expected).abs().max() <= tolerance * expected.abs().max())


def fill(spec: dict[str, Any], scale: float = 1.0) -> Tensor:
    count = math.prod(spec["shape"])
    places = torch.arange(1, count + 1, dtype=torch.float64)
    return (spec.get("scale", scale) * torch.sin(spec["k"] * places)).reshape(spec["shape"])


def heads(original: bool, lorentz: bool = False) -> MultiHeadDrift:
    generator = torch.Generator()
    drift = MultiHeadDrift(8, 2, 3, 0.09, 0.01, generator, lorentz=lorentz, original=original)
    drift = drift.double()
    with torch.no_grad():
        drift.left.copy_(fill(HEADS["U"]))
        drift.right.copy_(fill(HEADS["V"]))
        drift.cubic.fill_(0.05)
        drift.coupling.fill_(0.01)
        drift.diagonal.copy_(torch.linspace(-0.4, -0.1, 4, dtype=torch.float64).repeat(2, 1))
    return drift


def token_model(**options: Any) -> TokenModel:
    golden = GOLDEN["token_path"]
    vocab, width, waves = (golden["config"][name] for name in ("V", "D", "num_waves"))
    channels, hidden = width // waves, max(16, 2 * width // waves)
    shapes = {"embedder.weight": (vocab, width), "readout.weight": (vocab, width)}
    shapes |= {"wave_interaction.weight": (width, width), "wave_interaction.bias": (width,)}
    for wave in range(waves):
        layer = f"wave_dynamics.{wave}.mlp"
        shapes |= {f"{layer}.0.weight": (hidden, channels), f"{layer}.0.bias": (hidden,)}
        shapes |= {f"{layer}.2.weight": (channels, hidden), f"{layer}.2.bias": (channels,)}
    weights = {
        name: sine(size, 1.0 if name == "embedder.weight" else 0.3, golden["offsets"][name])
        for name, size in shapes.items()
    }
    for name, value in (
        ("gamma", 0.2),
        ("slow_lr", 0.05),
        ("agent_blend_weight", -0.4),
        ("tension_noise_gain", 0.15),
        ("temperature_raw", math.log(math.expm1(0.12))),
        *((f"wave_dynamics.{wave}.residual_scale", 0.1) for wave in range(waves)),
    ):
        # Scalars keep their defaults, which the original makes in float32.
        weights[name] = torch.tensor(value).double()
    f32 = {name: float(torch.tensor(x)) for name, x in (("i", 0.05), ("d", 0.05), ("s", 0.3))}
    options = {
        "wave_interaction": f32["i"],
        "slow_decay": f32["d"],
        "slow_weight": f32["s"],
    } | options
    return convert_token(weights, "golden", tension_weights=WEIGHTS, **options)


@pytest.mark.parametrize("company", [[[1, 4, 7]], [[0, 9, 3], [1, 4, 7], [5, 5, 5]]], ids=str)
def test_the_token_path_is_the_originals_alone_and_in_company(company: list[list[int]]) -> None:
    golden = GOLDEN["token_path"]
    row = company.index(golden["ids"])
    model = token_model()
    state = model.start(len(company))
    tokens = torch.tensor(company)
    for place, expected in enumerate(golden["token_path"]):
        signal, state = model.hear(model.embed(tokens[:, place]), state)
        rest, combined, state = model.evolve(signal, state)
        for name, found in (
            ("signal", signal),
            ("fast", rest.fast),
            ("slow", state.slow),
            ("T", rest.tension),
            ("combined", combined),
        ):
            assert close(found[row], expected[name]), (place, name)


def test_a_stretch_is_its_tokens() -> None:
    model = token_model()
    reading = model(torch.tensor([GOLDEN["token_path"]["ids"]]))
    for place, expected in enumerate(GOLDEN["token_path"]["token_path"]):
        assert close(reading.fast[0, place], expected["fast"])


def test_heads_drift_as_published_and_as_documented() -> None:
    state, signal = fill(HEADS["state"])[:, None], fill(HEADS["signal"])[:, None]
    assert close(heads(True).matrices(), HEADS["A_head"], 1e-8)
    assert close(heads(True).drift(state, signal)[:, 0], HEADS["drift_pinned_rowvec_sA"], 1e-8)
    documented = heads(False)
    with torch.no_grad():
        documented.coupling.neg_()  # the numbers keep the sign that drives heads apart
    assert close(documented.drift(state, signal)[:, 0], HEADS["drift_documented_As"], 1e-8)
    assert close(heads(True)(state, signal)[:, 0], HEADS["forward_one_euler"], 1e-8)


@pytest.mark.parametrize("original", [True, False])
def test_heads_are_drawn_together_unless_the_original_is_asked_for(original: bool) -> None:
    state, signal = fill(HEADS["state"])[:, None], fill(HEADS["signal"])[:, None]
    drift = heads(original)
    apart = []
    for strength in (0.0, 0.01):
        with torch.no_grad():
            drift.coupling.fill_(strength)
        each = drift.drift(state, signal).unflatten(-1, (2, 4))
        apart.append(float((each - each.mean(dim=-2, keepdim=True)).norm().detach()))
    expected = HEADS["coupling_sign_check"]["ratio_of_deviation_norms"]
    assert apart[1] / apart[0] == pytest.approx(expected if original else 2 - expected, rel=1e-9)


def test_heads_settle_where_the_originals_do() -> None:
    drift, signal = heads(True), fill(HEADS["signal"])[:, None]
    state = torch.zeros_like(signal)
    for _ in range(20):
        state = drift(state, signal)
    assert close(state[:, 0], HEADS["converge_fixed_20_no_target_norm"], 1e-8)
    unit = state / state.norm(dim=-1, keepdim=True)
    assert close(unit[:, 0], HEADS["converge_fixed_20_from_zero"], 1e-8)


def test_lengths_are_held_as_the_original_holds_them() -> None:
    for case in HEADS["clamp_norm"]:
        held = clamp_waves(torch.tensor([[case["in"]]], dtype=torch.float64), 1)
        assert torch.allclose(held[0, 0], torch.tensor(case["out"], dtype=torch.float64))


def test_a_drift_has_as_many_numbers_as_the_originals() -> None:
    def count(drift: MultiHeadDrift) -> int:
        return sum(parameter.numel() for parameter in drift.parameters())

    assert count(heads(True)) == HEADS["param_count"]["this"]
    large = MultiHeadDrift(512, 4, 64, 0.09, 0.01, torch.Generator())
    assert count(large) == HEADS["param_count"]["D512_H4_r64"]


def test_the_vectorised_step_is_the_originals() -> None:
    state = fill(STEP["state"])
    nothing, signal = torch.zeros_like(state), fill({"k": 0.91, "shape": [2, 3, 8]}, 0.5)
    drift = heads(True)
    assert close(drift(state, nothing), STEP["euclidean_step_signal_none"], 1e-8)
    assert close(drift(state, signal), STEP["euclidean_step_signal"], 1e-8)


def test_the_step_on_the_hyperboloid() -> None:
    state = fill(STEP["state"])
    nothing = torch.zeros_like(state)
    golden = STEP["lorentz"]
    assert close(heads(True, lorentz=True)(state, nothing), golden["off_manifold_out"], 1e-8)
    space = state[..., 1:]
    lifted = torch.cat([(1 + space.square().sum(-1, keepdim=True)).sqrt(), space], dim=-1)
    moved = heads(True, lorentz=True)(lifted, nothing)
    assert close(moved, golden["out"], 1e-8)
    inner = minkowski(moved, moved)[..., 0]
    assert close(inner, golden["minkowski_self_inner_after"], 1e-8)


def test_the_right_tangent_stays_on_the_hyperboloid_to_second_order() -> None:
    state = fill(STEP["state"]) * 0.3
    drift = heads(False, lorentz=True)
    moved = drift(state, torch.zeros_like(state))
    assert torch.allclose(minkowski(moved, moved), torch.ones(()).double(), atol=1e-6)
    x = torch.cat([(1 + state[..., 1:].square().sum(-1, keepdim=True)).sqrt(), state[..., 1:]], -1)
    f = drift.drift(x, torch.zeros_like(x))
    assert float(minkowski(x, f - minkowski(x, f) * x).abs().max().detach()) < 1e-12


def test_phrases_are_the_originals() -> None:
    golden = GOLDEN["tsllm_hierarchy"]
    tokens, nothing = torch.tensor([golden["ids"]]), torch.full((1, 3), -1)
    for rows in (8192, 16):
        assert (
            phrase_ids(tokens, nothing, rows)[0].tolist()
            == golden[f"rolling_phrase_id(span=4,vocab={rows})"]
        )
    cut = phrase_ids(tokens[:, 4:], tokens[:, 1:4], 8192)
    assert cut.tolist() == phrase_ids(tokens, nothing, 8192)[:, 4:].tolist()


def test_slow_waves_are_as_slow_as_the_originals() -> None:
    golden = GOLDEN["tsllm_hierarchy"]["multi_timescale"]
    drift = TwoTimescaleDrift(8, 2, 3, golden["fast"]["dt"], 0.01, torch.Generator())
    for part, half in ((drift.fast, golden["fast"]), (drift.slow, golden["slow"])):
        assert part.dt == half["dt"]
        assert float(part.cubic.detach()) == pytest.approx(half["cubic"], rel=1e-6)
    assert drift.fast.dt == RATIO * drift.slow.dt


def test_distances_to_embeddings_are_the_originals_logits() -> None:
    golden = GOLDEN["tsllm_hierarchy"]["torch_lm"]
    model = TokenModel(TokenConfig(readout="distance"), 3, torch.Generator())
    with torch.no_grad():
        model.embedding.zero_()
        model.embedding[:, 0] = torch.tensor([1.0, 2.0, 5.0])
        logits = model.read(torch.zeros(1, 128))
    assert close(logits.double(), golden["logits_state0_vs_attractors"], 1e-6)
