"""The stream model: exactly causal, the same in pieces as in one, learning through everything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from boggers.errors import UserError
from boggers.model.stream import StreamConfig, StreamModel, StreamState

VOCAB = 40
SMALL = StreamConfig(
    state_dim=16,
    num_stages=2,
    num_dynamics_steps=2,
    memory_patterns=12,
    num_waves=2,
    sequence_length=32,
    phrase_rows=50,
    phrase_width=6,
    succession_orders=3,
    succession_slots=8,
    recency=True,
)
LEARNING = replace(SMALL, fast_values=True)
EITHER = pytest.mark.parametrize("config", [SMALL, LEARNING], ids=["fixed", "learning"])
BASINS = 3
"""Of a model with recall; other memories have one."""

MEMORIES = pytest.mark.parametrize("memory", ["recall", "gated", "rectified", "log-sum-exp"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(memory: Any, **options: Any) -> StreamConfig:
    """With several basins and fast values where there may be."""
    recalls = memory == "recall" and options.get("num_dynamics_steps", 2) > 0
    basins = BASINS if recalls else 1
    return replace(SMALL, memory=memory, num_basins=basins, fast_values=recalls, **options)


def lively(config: StreamConfig = SMALL) -> StreamModel:
    """A model in which every part speaks: outputs that start at zero are drawn."""
    model = StreamModel(config, VOCAB, generator())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator(1))
    return model.eval()


def text(rows: int = 3, length: int = 21) -> Tensor:
    return torch.randint(VOCAB, (rows, length), generator=generator(2))


def refrain(rows: int = 3, length: int = 21) -> Tensor:
    """A text whose second half says the first again, so there is much to remember."""
    drawn = text(rows, length)
    return torch.cat([drawn[:, : length - length // 2], drawn[:, : length // 2]], dim=1)


@MEMORIES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"relax_tolerance": 0.1, "descent": True},
        {"breaks": True, "break_tense": 0.02, "break_calm": 0.01, "anchor_strength": 0.5},
    ],
)
def test_a_changed_token_changes_no_bit_before_it(
    memory: Any, dtype: torch.dtype, options: dict[str, Any]
) -> None:
    model = lively(small(memory, **options)).to(dtype)
    tokens = text()
    with torch.no_grad():
        before = model(tokens, generator=generator()).logits
        for t in range(tokens.shape[1]):
            changed = tokens.clone()
            changed[:, t] = (changed[:, t] + 1 + t) % VOCAB
            after = model(changed, generator=generator()).logits
            assert torch.equal(after[:, :t], before[:, :t])
            assert not torch.equal(after[:, t:], before[:, t:])


@EITHER
def test_a_hostile_token_reaches_no_earlier_position(config: StreamConfig) -> None:
    """A table row of infinities would poison whatever reads it, even multiplied by zero."""
    model = lively(config)
    tokens = text().clamp_max(VOCAB - 2)
    with torch.no_grad():
        before = model(tokens).logits[..., : VOCAB - 1]
        model.embedding[VOCAB - 1] = torch.inf
        for t in range(tokens.shape[1]):
            changed = tokens.clone()
            changed[:, t:] = VOCAB - 1
            after = model(changed).logits[..., : VOCAB - 1]
            assert torch.equal(after[:, :t], before[:, :t])
            assert after[:, t:].isnan().all()


@MEMORIES
def test_token_by_token_equals_all_at_once(memory: Any) -> None:
    model, tokens = lively(small(memory)), text(2, 300)
    with torch.no_grad():
        whole = model(tokens).logits
        _, state = model.prefill(tokens[:, :7])
        for t in range(7, 300):
            logits, state = model.step(tokens[:, t], state)
            assert (logits - whole[:, t]).abs().max() <= 1e-5 * whole[:, t].abs().max()


@MEMORIES
def test_the_two_ways_differ_by_rounding_alone(memory: Any) -> None:
    model = lively(small(memory)).double()
    tokens = refrain(2, 300)
    with torch.no_grad():
        whole = model(tokens).logits
        state = model.start(2)
        for t in range(300):
            logits, state = model.step(tokens[:, t], state)
            assert (logits - whole[:, t]).abs().max() <= 1e-12 * whole[:, t].abs().max()


@EITHER
@pytest.mark.parametrize("tokens", [text(), refrain(), refrain(2, 600)])
def test_a_text_may_be_cut_anywhere(tokens: Tensor, config: StreamConfig) -> None:
    model = lively(config)
    with torch.no_grad():
        whole = model(tokens)
        for cut in range(1, tokens.shape[1], 1 + tokens.shape[1] // 50):
            first = model(tokens[:, :cut])
            second = model(tokens[:, cut:], state=first.state)
            joined = torch.cat([first.logits, second.logits], dim=1)
            assert (joined - whole.logits).abs().max() <= 1e-5 * whole.logits.abs().max()


@EITHER
def test_a_row_does_not_feel_its_companions(config: StreamConfig) -> None:
    model, tokens = lively(replace(config, relax_tolerance=0.1)), text(9)
    with torch.no_grad():
        together = model(tokens, generator=generator())
        for row in range(9):
            alone = model(tokens[row : row + 1], generator=generator())
            apart = (alone.logits[0] - together.logits[row]).abs().max()
            assert apart <= 1e-6 * together.logits[row].abs().max()
            for one, all_ in zip(alone.settled, together.settled, strict=True):
                assert torch.equal(one.steps[0], all_.steps[row])


@MEMORIES
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_every_parameter_learns_from_the_first_steps(memory: Any, steps: int) -> None:
    """The couplings begin silent, so what feeds them learns from the second step on."""
    config = small(memory, num_dynamics_steps=steps)
    model = StreamModel(config, VOCAB, generator())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    tokens = text(8, 33)
    for _ in range(2):
        optimiser.zero_grad()
        logits = model(tokens[:, :-1]).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimiser.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


CHANGES: dict[str, dict[str, Any]] = {
    "num_dynamics_steps": {"num_dynamics_steps": 1},
    "memory": {"memory": "rectified"},
    "memory_patterns": {"memory_patterns": 11},
    "num_waves": {"memory": "log-sum-exp", "num_waves": 4},
    "num_basins": {"num_basins": 2},
    "fast_values": {"fast_values": True},
    "num_stages": {"num_stages": 1},
    "state_dim": {"state_dim": 20},
    "coupling_channels": {"coupling_channels": 10},
    "coupling_taps": {"coupling_taps": 2},
    "shortest_memory": {"shortest_memory": 8.0},
    "longest_memory": {"longest_memory": 10.0},
    "phrase_rows": {"phrase_rows": None},
    "phrase_width": {"phrase_width": 5},
    "phrase_hashes": {"phrase_hashes": 2},
    "succession_orders": {"succession_orders": 2},
    "succession_slots": {"succession_slots": 1},
    "recency": {"recency": False},
    "descent": {"memory": "gated", "descent": True},
    "relax_tolerance": {"relax_tolerance": 0.3},
    "anchor_strength": {"anchor_strength": 0.9},
    "anchor_candidates": {"anchor_strength": 0.9, "anchor_candidates": 1},
    "breaks": {"breaks": True},
    "gaussian_breaks": {"breaks": True, "gaussian_breaks": True},
    "break_tense": {"breaks": True, "break_tense": 9.0},
    "break_calm": {"breaks": True, "break_tense": 9.0, "break_calm": 8.0, "break_patience": 1},
    "break_patience": {"breaks": True, "break_tense": 9.0, "break_calm": 8.0, "break_patience": 2},
    "break_strength": {"breaks": True, "break_strength": 0.5},
    "break_rejection": {"breaks": True, "break_strength": 2.0, "break_rejection": True},
}
BESIDE: dict[str, dict[str, Any]] = {
    "descent": {"memory": "gated"},
    "num_waves": {"memory": "log-sum-exp"},
    "anchor_candidates": {"anchor_strength": 0.9},
    "gaussian_breaks": {"breaks": True},
    "break_tense": {"breaks": True},
    "break_calm": {"breaks": True, "break_tense": 9.0, "break_patience": 1},
    "break_patience": {
        "breaks": True,
        "break_tense": 9.0,
        "break_calm": 8.0,
        "break_patience": 1,
    },
    "break_strength": {"breaks": True},
    "break_rejection": {"breaks": True, "break_strength": 2.0},
}
# A bonus moves nothing until a memory of tokens writes it: see test_a_bonus_moves_what_it_is_of.
WRITTEN = {"token_bonus"}
IN_TRAINING = {"random_steps", "gradient_steps", "embedding_dropout", "readout_dropout"}


@pytest.mark.parametrize("option", CHANGES)
def test_every_option_changes_something(option: str) -> None:
    def logits(changes: dict[str, Any]) -> Tensor:
        with torch.no_grad():
            model = lively(replace(SMALL, **changes))
            result: Tensor = model(refrain(), generator=generator()).logits
        return result

    assert not torch.equal(logits(CHANGES[option]), logits(BESIDE.get(option, {})))


def test_no_option_is_left_out() -> None:
    fields = set(StreamConfig.__dataclass_fields__)
    assert fields == set(CHANGES) | IN_TRAINING | WRITTEN | {"sequence_length"}


@pytest.mark.parametrize("form", ["hold", "additive"])
def test_a_bonus_moves_what_it_is_of(form: Any) -> None:
    model = lively(replace(SMALL, token_bonus=form))
    assert model.bonus is not None
    with torch.no_grad():
        without = model(text()).logits
        assert torch.equal(without, lively()(text()).logits)
        model.bonus.write(torch.full((VOCAB,), 0.2))
        assert not torch.equal(model(text()).logits, without)


@pytest.mark.parametrize("option", ["embedding_dropout", "readout_dropout"])
def test_dropout_is_for_training_alone(option: str) -> None:
    config = replace(SMALL, **{option: 0.5})
    model = lively(config)
    plain = model(text(), generator=generator()).logits
    assert torch.equal(plain, lively()(text()).logits)
    model.train()
    assert not torch.equal(plain, model(text(), generator=generator()).logits)
    with pytest.raises(UserError, match="random generator"):
        model(text())


def test_random_steps_follow_the_seed_and_reach_every_number() -> None:
    # The upper half of a seed belongs to the whole batch, the lower one to a part of it.
    model = lively(replace(SMALL, random_steps=True)).train()
    drawn = [model.steps(generator(seed << 32)) for seed in range(200)]
    assert set(drawn) == {2, 3, 4}
    assert drawn == [model.steps(generator(seed << 32)) for seed in range(200)]
    taken = model(text(), generator=generator(5 << 32)).settled[0].steps
    assert (taken == drawn[5]).all()
    assert model.eval().steps(generator(5 << 32)) == 2
    with pytest.raises(UserError, match="random generator"):
        model.train()(text())


def test_gradient_steps_cut_the_gradient() -> None:
    def gradient(last: int | None) -> Tensor:
        model = lively(replace(SMALL, gradient_steps=last))
        model(text()).logits.square().mean().backward()
        memory = model.stages[0].memory
        assert memory is not None
        grad: Tensor = memory.key.grad
        return grad

    assert torch.equal(gradient(None), gradient(2))
    assert not torch.equal(gradient(None), gradient(1))


@EITHER
def test_a_state_is_a_value(tmp_path: Path, config: StreamConfig) -> None:
    model, tokens = lively(config), text(2)
    with torch.no_grad():
        _, state = model.prefill(tokens)
        kept = [past.field.clone() for past in state.pasts]
        first, _ = model.step(tokens[:, 0], state)
        for past, before in zip(state.pasts, kept, strict=True):
            assert torch.equal(past.field, before)
        state.save(tmp_path / "state.safetensors")
        again, _ = model.step(tokens[:, 0], StreamState.load(tmp_path / "state.safetensors"))
        assert torch.equal(first, again)
        forked = state.select([1, 0, 1])
        logits, _ = model.step(tokens[[1, 0, 1], 0], forked)
        torch.testing.assert_close(logits, first[[1, 0, 1]], rtol=1e-6, atol=1e-5)
        joined = StreamState.join([state.select([0]), state.select([1])]).to("cpu")
        logits, _ = model.step(tokens[:, 0], joined)
        torch.testing.assert_close(logits, first, rtol=1e-6, atol=1e-5)


def test_a_state_never_grows() -> None:
    model = lively()
    with torch.no_grad():
        _, short = model.prefill(text(1, 1))
        _, long = model.prefill(text(1, 500))
    stages, latest = 2 * 2 * 4 * (16 + 3 * 16), 3 * 8
    successions, counts = 2 * 3 * 8 * 4, 3 * VOCAB * 4
    assert short.bytes_per_row == long.bytes_per_row == stages + latest + successions + counts
    learning = lively(LEARNING)
    with torch.no_grad():
        _, long = learning.prefill(text(1, 500))
    assert long.bytes_per_row == short.bytes_per_row + 12 * (16 + 1) * 4


def test_a_file_from_before_fast_values_is_read(tmp_path: Path) -> None:
    model, tokens = lively(), text(2)
    with torch.no_grad():
        _, state = model.prefill(tokens)
        tensors = {n: t.contiguous() for n, t in state.tensors().items()}
        del tensors["values"], tensors["asked"]
        save_file(tensors, tmp_path / "old.safetensors")
        loaded = StreamState.load(tmp_path / "old.safetensors")
        expected, _ = model.step(tokens[:, 0], state)
        assert torch.equal(model.step(tokens[:, 0], loaded)[0], expected)
    with pytest.raises(UserError, match="must come from this model"):
        lively(LEARNING).step(tokens[:, 0], loaded)


def test_a_state_of_another_model_or_text_is_refused(tmp_path: Path) -> None:
    model = lively()
    with pytest.raises(UserError, match="3 rows"):
        model(text(3), state=model.start(2))
    with pytest.raises(UserError, match="2 pasts came"):
        model(text(3), state=lively(replace(SMALL, num_stages=1)).start(3))
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"no state")
    with pytest.raises(UserError, match="damaged"):
        StreamState.load(damaged)


@MEMORIES
def test_in_descent_no_position_of_any_stage_rises(memory: Any) -> None:
    model = lively(small(memory, descent=True, num_dynamics_steps=4))
    with torch.no_grad():
        for rest in model(text(8, 64), keep_energy=True).settled:
            assert rest.fall is not None
            assert (rest.fall >= 0).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"state_dim": 15, "num_waves": 3}, "--state-dim"),
        ({"num_stages": 0}, "--num-stages"),
        ({"num_dynamics_steps": -1}, "--num-dynamics-steps"),
        ({"shortest_memory": 0.0}, "--shortest-memory"),
        ({"shortest_memory": 9.0, "longest_memory": 8.0}, "--longest-memory"),
        ({"readout_dropout": 1.0}, "--readout-dropout"),
        ({"gradient_steps": 0}, "--gradient-steps"),
        ({"num_basins": 0}, "--num-basins"),
        ({"num_basins": 2, "memory": "gated"}, "--memory recall"),
        ({"num_basins": 2, "num_dynamics_steps": 0}, "--num-dynamics-steps 1 or more"),
        ({"fast_values": True, "memory": "gated"}, "--memory recall"),
        ({"fast_values": True, "num_dynamics_steps": 0}, "--num-dynamics-steps 1 or more"),
        ({"phrase_hashes": 4}, "--phrase-hashes"),
        ({"succession_orders": 0}, "--succession-orders"),
        ({"succession_slots": 0}, "--succession-slots"),
    ],
)
def test_impossible_options_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        replace(SMALL, **changes)


def test_a_model_without_energies_takes_no_steps() -> None:
    model = lively(replace(SMALL, num_dynamics_steps=0))
    assert model(text()).settled == ()
    with pytest.raises(UserError, match="no energies"):
        model(text(), steps=2)


@EITHER
def test_an_energetic_model_may_be_read_unsettled(config: StreamConfig) -> None:
    model, tokens = lively(config), text()
    with torch.no_grad():
        whole = model(tokens, steps=0).logits
        state = model.start(3, steps=0)
        for t in range(tokens.shape[1]):
            logits, state = model.step(tokens[:, t], state, steps=0)
            assert (logits - whole[:, t]).abs().max() <= 1e-5 * whole[:, t].abs().max()


@EITHER
def test_a_state_of_the_learned_steps_serves_any_greater_number(config: StreamConfig) -> None:
    model, tokens = lively(config), text()
    with torch.no_grad():
        assert len(model.start(3, steps=9).pasts) == len(model.start(3).pasts)
        _, state = model.prefill(tokens[:, :-1], steps=9)
        logits, _ = model.step(tokens[:, -1], state, steps=9)
        torch.testing.assert_close(logits, model(tokens, steps=9).logits[:, -1])
        assert not torch.equal(logits, model(tokens).logits[:, -1])


@EITHER
def test_however_many_steps_a_state_comes_to_rest(config: StreamConfig) -> None:
    model, tokens = lively(config), text()
    with torch.no_grad():
        residuals = [
            max(float(rest.residual.max()) for rest in model(tokens, steps=steps).settled)
            for steps in (2, 4, 8, 16)
        ]
        assert residuals == sorted(residuals, reverse=True)
        assert residuals[-1] < 1e-3
        torch.testing.assert_close(
            model(tokens, steps=20).logits, model(tokens, steps=24).logits, rtol=1e-3, atol=1e-3
        )
