"""The original's numbers, each row alone and both in one batch, to a relative 1e-9."""

from typing import Any

import pytest
import torch
from torch import Tensor

from boggers.field.energy import WaveEnergy
from boggers.field.tension import tension
from tests.model.golden import ROWS, WEIGHTS, golden_model

SETTINGS: dict[str, dict[str, Any]] = {
    "run_default": {},
    "run_no_breaks": {"breaks": False},
    "run_no_normalisation": {"state_normalization": False},
    "run_no_norm_no_breaks": {"state_normalization": False, "breaks": False},
    "run_tension_lambda_0.5": {"tension_strength": 0.5, "breaks": False},
    "run_anchor_lambda_0.5_top4": {
        "anchor_strength": 0.5,
        "anchor_candidates": 4,
        "breaks": False,
    },
    "run_anchor_force_0.05_top4": {"anchor_pull": 0.05, "anchor_candidates": 4, "breaks": False},
    "run_interaction_0.1_tau2": {
        "window_interaction": True,
        "interaction_scale": 0.1,
        "interaction_decay_tau": 2.0,
        "breaks": False,
    },
    "run_tension_weights_2_1_0": {"tension_weights": (2.0, 1.0, 0.0)},
    "run_fusion": {"fusion": True, "breaks": False},
    "run_break_rejection": {"break_rejection": True},
    "run_adaptive_dt_inference": {"adaptive_energy_step": True, "breaks": False},
    "run_conv_eps_10": {"convergence_epsilon": 10.0, "breaks": False},
}


def close(ours: Tensor, golden: Any) -> bool:
    expected = torch.tensor(golden, dtype=torch.float64)
    return bool((ours - expected).abs().max() <= 1e-9 * expected.abs().max())


@pytest.mark.parametrize("rows", [[0], [1], [0, 1], [1, 0, 1]], ids=str)
@pytest.mark.parametrize("name", SETTINGS)
def test_runs_match_the_original(name: str, rows: list[int]) -> None:
    model = golden_model(**dict(SETTINGS[name]))
    contexts = torch.tensor([ROWS[row]["ids"][0] for row in rows])
    with torch.no_grad():
        reading = model(contexts, keep_path=True, keep_curves=True)
    found = reading.relaxation
    for place, row in enumerate(rows):
        expected = ROWS[row][name]
        assert close(found.state[place], expected["final"][0])
        assert close(found.path[0][place], expected["first_step"][0])
        steps = expected["steps"]
        assert close(found.tension[:steps, place], expected["tension_curve"])
        assert int(found.steps[place]) == steps
        assert int(found.breaks[place]) == expected["breaks"]
        assert close(reading.logits[place], expected["logits"][0])


@pytest.mark.parametrize("row", [0, 1])
def test_parts_match_the_original(row: int) -> None:
    golden = ROWS[row]
    model = golden_model()
    state = model.embed(torch.tensor(golden["ids"]))
    assert close(state, golden["embed"])
    assert model.coupling is not None
    assert close(model.coupling.weights().detach(), golden["coupling_weights"])
    weights = model.coupling.weights()
    delta = weights @ state - weights.sum(dim=1)[:, None] * state
    assert close(delta.detach(), golden["coupling_delta"])
    assert isinstance(model.wave_energy, WaveEnergy)
    assert close(model.wave_energy.per_wave(state).detach(), golden["per_wave_energy"])
    moved = state + 0.09 * model.wave_energy.force(state)
    assert close(moved.detach(), golden["energy_step"])
    parts = tension(state, model.config.weights)
    found = torch.stack([parts.total, parts.energy, parts.alignment, parts.entropy]).detach()
    assert close(found, golden["tension_components"])


def test_weights_are_the_originals_float32_ones() -> None:
    assert WEIGHTS[1] != 0.35
    assert abs(WEIGHTS[1] - 0.35) < 1e-7
