"""The laws of the relaxation: each row alone, energy falls, rest is rest, gradients return."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from boggers.dynamics.breaks import BreakRule
from boggers.dynamics.pace import EnergyPace, TensionPace
from boggers.dynamics.relax import System, relax
from boggers.dynamics.rest import FreezeRule, RestRule
from boggers.errors import UserError
from boggers.field.anchors import Anchors
from boggers.field.coupling import PositionalCoupling
from boggers.field.energy import PatternMemory, WaveEnergy
from boggers.field.tension import TensionEnergy, TensionWeights
from boggers.field.waves import normalise_waves

WAVES, CHANNELS, WINDOW = 2, 6, 5
WIDTH = WAVES * CHANNELS


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def start(rows: int = 6) -> Tensor:
    state = torch.randn(rows, WINDOW, WIDTH, generator=generator(1), dtype=torch.float64)
    return normalise_waves(state, WAVES)


def system(**changes: Any) -> System:
    energies = [
        WaveEnergy(WAVES, CHANNELS, generator(2)).double(),
        PatternMemory(WINDOW, WIDTH, 5, generator(3)).double(),
        TensionEnergy(0.3, TensionWeights()),
    ]
    base = System(energies=energies, energy_step=0.05, num_waves=WAVES)
    return replace(base, **changes)


def anchors() -> Anchors:
    table = torch.randn(11, WIDTH, generator=generator(4), dtype=torch.float64)
    scores = torch.randn(11, WINDOW * WIDTH, generator=generator(5), dtype=torch.float64)
    return Anchors(
        normalise_waves(table[:, None], WAVES)[:, 0], lambda s: s.flatten(1) @ scores.t(), 4
    )


COUPLING = PositionalCoupling(WINDOW).double().laplacian().detach()
EVERYTHING: dict[str, dict[str, Any]] = {
    "plain": {},
    "coupled": {"coupling": COUPLING},
    "unnormalised": {"coupling": COUPLING, "normalise": False},
    "breaks": {"breaks": BreakRule()},
    "gaussian": {"breaks": BreakRule(kind="gaussian", tense=0.5)},
    "rejected": {"breaks": BreakRule(reject=True)},
    "rest": {"rest": RestRule(epsilon=0.0152)},
    "tension pace": {"coupling": COUPLING, "coupling_pace": TensionPace()},
    "energy pace": {"energy_step": 4.0, "energy_pace": EnergyPace()},
    "anchors": {"anchors": anchors(), "anchor_pull": 0.1},
    "freeze": {"anchors": anchors(), "freeze": FreezeRule(threshold=1.2, max_age=2)},
    "interaction": {"interaction": 0.1 * torch.ones(WINDOW, WINDOW, dtype=torch.float64)},
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_row_settles_as_if_it_were_alone(name: str) -> None:
    made = system(**EVERYTHING[name])
    state = start()
    with torch.no_grad():
        together = relax(state, made, steps=9, generator=generator(7))
        for b in range(len(state)):
            alone = relax(state[b : b + 1], made, steps=9, generator=generator(7))
            torch.testing.assert_close(together.state[b], alone.state[0], rtol=1e-9, atol=1e-11)
            torch.testing.assert_close(together.tension[:, b], alone.tension[:, 0])
            torch.testing.assert_close(together.energy[:, b], alone.energy[:, 0])
            assert together.steps[b] == alone.steps[0]
            assert together.breaks[b] == alone.breaks[0]


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name != "plain"])
def test_every_rule_changes_where_rows_rest(name: str) -> None:
    with torch.no_grad():
        plain = relax(start(), system(), steps=9).state
        ruled = relax(start(), system(**EVERYTHING[name]), steps=9, generator=generator(7)).state
    assert (plain - ruled).abs().max() > 1e-6


@pytest.mark.parametrize("normalise", [True, False])
def test_energy_never_rises_without_breaks_at_a_small_step(normalise: bool) -> None:
    made = system(normalise=normalise, energy_step=0.02)
    with torch.no_grad():
        first = made.energy(start())
        curve = torch.cat([first[None], relax(start(), made, steps=60).energy])
    assert (curve[1:] - curve[:-1]).max() <= 1e-12
    assert (curve[0] - curve[-1]).min() > 1e-2


def test_symmetric_coupling_is_descent_on_the_pull_between_neighbours() -> None:
    made = system(energies=[], coupling=COUPLING)
    with torch.no_grad():
        path = relax(start(), made, steps=30, keep_path=True).path
    assert path is not None
    states = [start(), *path]
    energies = torch.stack([-0.5 * (s * (COUPLING @ s)).sum(dim=(1, 2)) for s in states])
    assert (energies[1:] - energies[:-1]).max() <= 1e-12


def test_a_resting_row_stays_exactly_where_it_is() -> None:
    made = system(rest=RestRule(epsilon=0.0142))
    with torch.no_grad():
        long = relax(start(), made, steps=60, keep_path=True)
        assert long.path is not None
        assert len(set(long.steps.tolist())) > 1
        for b in range(len(start())):
            steps = int(long.steps[b])
            assert torch.equal(long.state[b], long.path[steps - 1][b])
        change = (long.energy[-1] - long.energy[-2]).abs()
    rested = long.steps < 60
    assert rested.any()
    assert change[rested].max() == 0


def test_rest_waits_for_the_minimum_of_steps() -> None:
    made = system(rest=RestRule(epsilon=1e9, min_steps=4))
    assert relax(start(), made, steps=10).steps.unique().tolist() == [4]


def test_only_the_tense_rows_break_and_the_others_do_not_move() -> None:
    state = start()
    state[0] = state[0, :1]
    quiet = system(energies=[])
    rule = BreakRule(tense=0.2, calm=0.0)
    with torch.no_grad():
        found = relax(state, replace(quiet, breaks=rule), steps=3, generator=generator())
    assert found.breaks[0] == 0
    assert found.breaks[1:].min() == 3
    torch.testing.assert_close(found.state[0], state[0], rtol=1e-12, atol=0)


def test_a_calm_row_breaks_after_its_patience() -> None:
    state = start()[:, :1].expand(-1, WINDOW, -1).contiguous()
    rule = BreakRule(kind="gaussian", calm=0.08, tense=9.0, patience=4, noise_when_calm=1e-5)
    with torch.no_grad():
        found = relax(
            state, system(energies=[], breaks=rule), steps=12, generator=generator(), keep_path=True
        )
    assert found.breaks.tolist() == [3] * len(state)
    assert found.path is not None
    torch.testing.assert_close(found.path[2], state)
    assert (found.path[3] - state).abs().max() > 1e-7


@pytest.mark.parametrize(
    ("row_tension", "size"),
    [(0.0, 0.1), (0.04, 0.0666666), (0.08, 0.0333333), (0.11, 0.01), (0.3, 0.01)],
)
def test_break_size_falls_with_tension(row_tension: float, size: float) -> None:
    found = BreakRule().size(torch.tensor([row_tension], dtype=torch.float64))
    assert found.item() == pytest.approx(size, rel=1e-5)


def test_gaussian_breaks_ask_for_a_generator() -> None:
    made = system(breaks=BreakRule(kind="gaussian"))
    with pytest.raises(UserError, match="generator"):
        relax(start(), made, steps=2)


def test_a_still_position_is_kicked_only_with_a_generator() -> None:
    made = system(energies=[], breaks=BreakRule(tense=0.2, calm=0.0))
    with torch.no_grad():
        still = relax(start(), made, steps=1).state
        kicked = relax(start(), made, steps=1, generator=generator()).state
    torch.testing.assert_close(still, start())
    assert (kicked - start()).abs().max() > 1e-3


def test_gradient_steps_choose_how_far_gradients_travel() -> None:
    def gradient(steps: int | None) -> tuple[Tensor | None, Tensor]:
        made = system(coupling=COUPLING)
        state = start().requires_grad_()
        relax(state, made, steps=6, gradient_steps=steps).state[:, 0].sum().backward()
        inner = made.energies[0].inner.grad  # type: ignore[union-attr]
        assert isinstance(inner, Tensor)
        return state.grad, inner

    whole, all_inner = gradient(None)
    same, six_inner = gradient(6)
    cut, one_inner = gradient(1)
    assert whole is not None
    assert cut is None
    assert same is not None
    torch.testing.assert_close(all_inner, six_inner)
    assert (all_inner - one_inner).abs().max() > 1e-4


def test_a_nudge_draws_the_state_to_its_target() -> None:
    target = start().flip(0)
    with torch.no_grad():
        free = relax(start(), system(), steps=5).state
        drawn = relax(start(), system(nudge=0.3), steps=5, target=target).state
    assert ((drawn - target).norm() < 0.5 * (free - target).norm()).item()


def test_curves_paths_and_the_last_step_tell_the_same_story() -> None:
    made = system(coupling=COUPLING, breaks=BreakRule())
    with torch.no_grad():
        full = relax(start(), made, steps=7, generator=generator(), keep_path=True)
        brief = relax(start(), made, steps=7, generator=generator(), keep_curves=False)
        longer = relax(start(), made, steps=8, generator=generator())
    assert full.path is not None
    assert full.tension.shape == (7, 6)
    assert brief.tension.shape == (1, 6)
    torch.testing.assert_close(full.tension[-1:], brief.tension)
    torch.testing.assert_close(full.energy[-1:], brief.energy)
    torch.testing.assert_close(full.energy[-1], made.energy(full.state))
    torch.testing.assert_close(full.path[-1], full.state)
    expected = (longer.state - full.state).flatten(1).norm(dim=1)
    torch.testing.assert_close(longer.residual, expected)


def test_no_steps_return_the_start() -> None:
    found = relax(start(), system(), steps=0)
    assert torch.equal(found.state, start())
    assert found.tension.shape == (0, 6)
    assert found.steps.tolist() == [0] * 6
