"""Token memory against the numbers of GOAT-TS and of the manager around it."""

import time
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boggers.errors import UserError
from boggers.graph.memory import (
    STATES,
    MemoryRule,
    TokenMemory,
    sweep,
    sweep_config,
)
from boggers.graph.memory_tick import DeviceVectors
from tests.graph.golden import close, golden

TICKS = {case["label"]: case for case in golden("goat_memory_tick")["cases"]}
MANAGER = {case["label"]: case for case in golden("goat_manager")["cases"]}


def states(memory: TokenMemory) -> list[str]:
    return [STATES[int(state)] for state in memory.state]


def put(memory: TokenMemory, state: list[str], activation: torch.Tensor | None = None) -> None:
    codes = torch.tensor([STATES.index(name) for name in state], dtype=torch.int8)
    found = {**memory.tensors(), "state": codes}
    memory.restore(found if activation is None else {**found, "activation": activation})


@pytest.mark.parametrize("label", TICKS)
def test_a_tick_matches_the_original(label: str) -> None:
    case = TICKS[label]
    memory = TokenMemory(len(case["init"]), MemoryRule(**case["kwargs"]))
    activation = torch.tensor([a for _, a, _ in case["init"]], dtype=torch.float64)
    put(memory, activation=activation, state=[state for _, _, state in case["init"]])
    for tick in case["ticks"]:
        memory.fade()
        assert close(memory.activation, tick["activation"])
        assert states(memory) == tick["state"]
        assert memory.low_ticks.tolist() == list(tick["low_ticks"].values())


@pytest.mark.parametrize("label", MANAGER)
def test_a_life_matches_the_original(label: str) -> None:
    case = MANAGER[label]
    memory = TokenMemory(case["vocab_size"], MemoryRule(**case["kwargs"]))
    assert close(memory.activation, case["initial"]["activation"])
    assert states(memory) == case["initial"]["state"]
    for tick in case["ticks"]:
        if tick["error"] is None:
            memory.tick(torch.tensor(tick["contexts"], dtype=torch.int64))
        else:  # ragged contexts are refused before anything changes
            with pytest.raises(ValueError, match="expected sequence"):
                memory.tick(torch.tensor(tick["contexts"]))
        assert same(memory, tick)
    assert [memory.bonus_of(-1), memory.bonus_of(99_999)] == case["bonus_out_of_range"]
    assert memory.state_of(99_999) == case["state_out_of_range"]


def same(memory: TokenMemory, tick: dict[str, Any]) -> bool:
    assert close(memory.activation, tick["activation"])
    assert states(memory) == tick["state"]
    assert memory.low_ticks.tolist() == [
        tick["low_ticks"].get(str(token), 0) for token in range(len(memory))
    ]
    assert close([memory.bonus_of(token) for token in range(len(memory))], tick["bonus"])
    assert close(memory.bonus(), tick["bonus"], 1e-7)
    stats = memory.stats()
    assert {"tick": stats.tick, "active": stats.active} | {
        "dormant": stats.dormant,
        "deep": stats.deep,
    } == tick["stats"]
    assert (memory.state == 1).nonzero().flatten().tolist() == tick["active_ids"]
    assert memory.deep().nonzero().flatten().tolist() == tick["deep_ids"]
    return True


def test_the_bonus_is_the_originals_vector() -> None:
    expected = golden("goat_manager")["bonus_tensor"]
    memory = TokenMemory(2)
    memory.tick(torch.tensor([[0, 1]]))
    assert f"{memory.bonus().dtype}" == expected["dtype"]
    assert memory.bonus().tolist() == expected["values"]


def test_the_knobs_are_the_originals_and_a_sweep_walks_them() -> None:
    assert sweep_config(MemoryRule()) == golden("goat_manager")["sweep_config"]
    walked = list(sweep(MemoryRule(), points=3))
    assert len(walked) == 15
    for name, value, rule in walked:
        assert getattr(rule, name) == value
    bonuses = [value for name, value, _ in walked if name == "bonus_scale"]
    assert bonuses == pytest.approx([0.0, 0.075, 0.15])
    with pytest.raises(UserError, match="at least 2 points"):
        list(sweep(MemoryRule(), points=1))


def test_dormant_tokens_can_be_revived_and_deep_ones_cannot() -> None:
    memory = TokenMemory(3)
    put(memory, ["dormant", "active", "deep"])
    memory.revive(torch.tensor([0, 1, 2, 7, -1]))
    assert states(memory) == ["active", "active", "deep"]
    assert close(memory.activation, [0.5, 0.1, 0.1])


def test_what_is_kept_goes_on_with_the_same_bits() -> None:
    random = torch.Generator().manual_seed(1)
    batches = [torch.randint(0, 50, (4, 8), generator=random) for _ in range(12)]
    whole, first, second = (TokenMemory(50) for _ in range(3))
    for batch in batches:
        whole.tick(batch)
    for batch in batches[:5]:
        first.tick(batch)
    second.restore({name: value.clone() for name, value in first.tensors().items()})
    for batch in batches[5:]:
        second.tick(batch)
    for name, value in whole.tensors().items():
        assert torch.equal(value, second.tensors()[name])
    with pytest.raises(UserError, match="needs activation"):
        TokenMemory(51).restore(first.tensors())


@settings(max_examples=60, deadline=None)
@given(
    rule=st.builds(
        MemoryRule,
        decay_rate=st.floats(0.3, 1.3),
        active_threshold=st.floats(0.2, 1.5),
        dormant_threshold=st.floats(0.0, 0.2),
        ticks_to_deep=st.integers(1, 4),
    ),
    batches=st.lists(st.lists(st.integers(-2, 8), max_size=6), min_size=1, max_size=25),
)
def test_a_device_ticks_with_the_same_bits(rule: MemoryRule, batches: list[list[int]]) -> None:
    here = TokenMemory(7, rule)
    for batch in batches:
        ids = torch.tensor(batch, dtype=torch.int64)
        there = DeviceVectors(here.tensors(), torch.device("cpu"))
        here.tick(ids)
        there.read(ids, rule)
        there.fade(rule)
        strength = torch.empty(7)
        there.bonus(rule.bonus_scale, strength)
        assert torch.equal(there.activation, here.activation)
        assert torch.equal(there.state, here.state)
        assert torch.equal(there.low_ticks, here.low_ticks)
        assert torch.equal(strength, here.bonus())


def test_a_tick_of_a_large_vocabulary_takes_at_most_two_milliseconds() -> None:
    memory = TokenMemory(50_257)
    contexts = torch.randint(0, 50_257, (64, 8), generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(60):
        begun = time.perf_counter()
        memory.tick(contexts)
        memory.bonus()
        seconds.append(time.perf_counter() - begun)
    # The fastest: other programs may want the same cores.
    assert min(seconds) <= 2e-3


@pytest.mark.parametrize(
    "options",
    [
        {"decay_rate": -0.5},
        {"dormant_threshold": 0.6},
        {"ticks_to_deep": 0},
        {"bonus_scale": -1.0},
    ],
)
def test_impossible_rules_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must be"):
        MemoryRule(**options)
    with pytest.raises(UserError, match="at least one token"):
        TokenMemory(0)
