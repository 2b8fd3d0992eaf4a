"""Places settle again exactly as they did in their text, and every probe says what is true."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from boggers.errors import UserError
from boggers.field.memory import GatedMemory, LogSumExpMemory, RecallMemory, RectifiedMemory
from boggers.infer.engine import Engine
from boggers.infer.score import predictions, score
from boggers.model.stream import StreamConfig, StreamModel
from boggers.model.window import WindowConfig, WindowModel
from boggers.probe.basins import agreement, at_rest, basins
from boggers.probe.diagnosis import diagnose, judge
from boggers.probe.patterns import awakening, parts, pull
from boggers.probe.places import StreamPlaces, places_in, spread
from boggers.probe.plane import energy_plane
from boggers.probe.stability import spectral_radius
from boggers.probe.timescales import knock_out

from ..runs import STREAM, WINDOW

IDS = np.random.default_rng(0).integers(0, 50, 300).astype(np.uint16)
AT = [40, 41, 77, 200, 299]
LEARNING = dataclasses.replace(STREAM, fast_values=True)
MEMORIES = ("recall", "gated", "rectified", "log-sum-exp")


def random_model(config: StreamConfig | WindowConfig, seed: int = 0) -> StreamModel | WindowModel:
    """A model whose every weight is drawn, so that nothing is silent."""
    generator = torch.Generator().manual_seed(seed)
    kind = StreamModel if isinstance(config, StreamConfig) else WindowModel
    model = kind(config, 50, generator)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def stream_of(memory: str, **changes: object) -> StreamModel:
    model = random_model(dataclasses.replace(STREAM, memory=memory, **changes))  # type: ignore[arg-type]
    assert isinstance(model, StreamModel)
    return model


@pytest.mark.parametrize("memory", MEMORIES)
def test_places_may_take_more_steps_than_were_learned(memory: str) -> None:
    model = stream_of(memory)
    learned = model.config.num_dynamics_steps
    model.config = dataclasses.replace(model.config, num_dynamics_steps=2 * learned + 1)
    place = places_in(model, IDS, [50])
    with torch.no_grad():
        reading = model(torch.from_numpy(IDS[:50].astype("int64"))[None])
        torch.testing.assert_close(place.settled()[0, 0], reading.states[0, -1])
        assert place.update(place.settled()).isfinite().all()
        _, following = place.last_and_next()
        reached = following.norm() / place.settled().norm()
    assert reached < (1e-6 if memory == "recall" else 0.5)


@pytest.mark.parametrize("bonus", [None, "hold", "additive"])
@pytest.mark.parametrize("config", [STREAM, LEARNING, WINDOW], ids=["stream", "learning", "window"])
def test_a_place_settles_as_it_did_in_its_text(
    config: StreamConfig | WindowConfig, bonus: str | None
) -> None:
    model = random_model(dataclasses.replace(config, token_bonus=bonus))
    if model.bonus is not None:
        model.bonus.write(torch.rand(50, generator=noise()))
    whole = torch.cat([part.logits for part in predictions(model, IDS, 1, len(IDS))])
    places = places_in(model, IDS, AT)
    expected = whole[torch.tensor(AT) - 1]
    with torch.no_grad():
        torch.testing.assert_close(places.read(places.settled()), expected, rtol=1e-5, atol=1e-5)
        twice = places.repeat(2)
        again = twice.read(twice.settled())[1::2]
    torch.testing.assert_close(again, expected, rtol=1e-5, atol=1e-5)


def test_places_are_spread_evenly_and_never_at_the_beginning() -> None:
    assert spread(0, 11, 3) == [1, 6, 10]
    assert spread(5, 8, 10) == [5, 6, 7]
    assert spread(0, 1, 4) == []
    with pytest.raises(UserError, match="at least one token before"):
        places_in(random_model(STREAM), IDS, [0])


def test_nothing_settles_without_steps() -> None:
    model = random_model(dataclasses.replace(STREAM, num_dynamics_steps=0))
    with pytest.raises(UserError, match="no relaxation steps"):
        places_in(model, IDS, [4])


def test_the_spectral_radius_is_the_largest_eigenvalue() -> None:
    matrix = torch.randn(6, 6, generator=noise())
    radius = spectral_radius(lambda s: s @ matrix, torch.randn(3, 1, 6, generator=noise()))
    expected = torch.linalg.eigvals(matrix).abs().max()
    torch.testing.assert_close(radius, expected.repeat(3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", [STREAM, WINDOW], ids=["stream", "window"])
def test_the_radius_of_an_update_is_that_of_its_jacobian(
    config: StreamConfig | WindowConfig,
) -> None:
    places = places_in(random_model(config), IDS, [50])
    state = places.settled().detach()
    size = state.numel()
    jacobian = torch.autograd.functional.jacobian(places.update, state).reshape(size, size)
    expected = torch.linalg.eigvals(jacobian.double()).abs().max()
    found = spectral_radius(places.update, state, dimension=size)
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_parts_of_a_force_add_up_to_it(memory: str) -> None:
    model = stream_of(memory)
    term = model.slopes()[-1].terms[0]
    proposal = torch.randn(5, 1, STREAM.state_dim, generator=noise())
    with torch.no_grad():
        forces, answers = parts(term, proposal)
        torch.testing.assert_close(
            forces.sum(dim=1)[:, None], term.force(proposal, proposal), rtol=1e-4, atol=1e-5
        )
    assert answers.shape == forces.shape[:2]


@pytest.mark.parametrize("memory", ["recall", "rectified"])
def test_a_pattern_that_is_taken_away_takes_its_part_with_it(memory: str) -> None:
    model = stream_of(memory)
    term = model.slopes()[-1].terms[0]
    assert isinstance(term, (RecallMemory, RectifiedMemory))
    proposal = torch.randn(1, 1, STREAM.state_dim, generator=noise())
    with torch.no_grad():
        forces, _ = parts(term, proposal)
        before = term.force(proposal, proposal)
        gone = term.value if isinstance(term, RecallMemory) else term.pattern
        gone[3] = 0.0
        after = term.force(proposal, proposal)
    assert forces[0, 3].abs().max() > 1e-4
    torch.testing.assert_close(before - after, forces[:, 3:4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("memory", "learns"), [*((memory, False) for memory in MEMORIES), ("recall", True)]
)
def test_a_prediction_is_the_sum_of_its_patterns(memory: str, learns: bool) -> None:
    model = stream_of(memory, fast_values=learns)
    place = places_in(model, IDS, [50])
    found = pull(place)
    with torch.no_grad():
        expected = place.read(place.settled())[0]
    torch.testing.assert_close(found.logits, expected, rtol=1e-5, atol=1e-5)
    assert found.by_pattern.abs().sum() > 0
    # What is left without the patterns is the proposal, read at the settled state's length.
    assert isinstance(place, StreamPlaces)
    state = place.settled()
    scale = (state.square().mean(dim=-1, keepdim=True) + torch.finfo(state.dtype).eps).rsqrt()
    carried = (place.proposal * scale) @ model.embedding.t()
    torch.testing.assert_close(found.rest, carried[0, 0], rtol=1e-3, atol=1e-3)
    # What the text suggests is told apart from what the state says.
    assert found.suggested.abs().max() > 0.1
    whole = found.rest + found.suggested + found.by_pattern.sum(dim=0)
    torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-4)
    strongest = found.strongest(int(found.logits.argmax()), 4)
    assert [abs(nats) for _, nats in strongest] == sorted(
        (abs(nats) for _, nats in strongest), reverse=True
    )


@pytest.mark.parametrize("readout", ["flat", "tied"])
@pytest.mark.parametrize("fusion", [False, True])
def test_a_window_is_the_sum_of_its_patterns(readout: str, fusion: bool) -> None:
    config = dataclasses.replace(
        WINDOW, readout=readout, readout_fusion=fusion, window_interaction=True
    )
    model = random_model(config)
    assert isinstance(model, WindowModel)
    assert model.memory is not None
    place = places_in(model, IDS, [50])
    found = pull(place)
    patterns = len(model.memory.key)
    assert found.by_pattern.shape == (patterns, 50)
    # Without the patterns' moves, but at the same lengths, the rest alone would be read: check
    # by removing one pattern's move from the settled state by hand.
    torch.testing.assert_close(
        found.rest + found.by_pattern.sum(dim=0), found.logits, rtol=1e-4, atol=1e-4
    )
    bias = torch.zeros(50) if model.readout.bias is None else model.readout.bias.detach()
    scaled = bias / model.readout.temperature.detach()
    assert (found.logits - scaled).abs().max() > 0.05


@pytest.mark.parametrize("learns", [False, True])
def test_what_other_basins_say_is_told_apart(learns: bool) -> None:
    model = stream_of("recall", num_basins=3, fast_values=learns)
    place = places_in(model, IDS, [50])
    found = pull(place)
    with torch.no_grad():
        reading = model(torch.from_numpy(IDS[:50].astype("int64"))[None])
    torch.testing.assert_close(found.logits, reading.logits[0, -1], rtol=1e-4, atol=1e-4)
    whole = found.rest + found.beside + found.suggested + found.by_pattern.sum(dim=0)
    torch.testing.assert_close(whole, found.logits, rtol=1e-4, atol=1e-4)
    assert found.beside.std() > 0.01
    assert pull(places_in(stream_of("recall"), IDS, [50])).beside.abs().max() == 0


def test_what_moves_a_state_otherwise_is_not_traced() -> None:
    model = stream_of("gated", breaks=True, break_calm=1e3, break_tense=2e3, break_patience=1)
    with pytest.raises(UserError, match="nothing but the energy"):
        pull(places_in(model, IDS, [50]))


@pytest.mark.parametrize("config", [STREAM, WINDOW], ids=["stream", "window"])
def test_what_wakes_a_pattern_wakes_it_most(config: StreamConfig | WindowConfig) -> None:
    model = random_model(config)
    found = awakening(model, IDS, 0, 200, [0, 5], count=2)
    for pattern, at in found.items():
        awake = [float(pull(places_in(model, IDS, [place])).awake[pattern]) for place in at]
        others = pull(places_in(model, IDS, [60])).awake[pattern]
        assert len(set(at)) == 2
        assert all(0 < place < 200 for place in at)
        if isinstance(config, WindowConfig):  # a stream's stretches begin without a past
            assert max(awake) >= 0.5 * float(others)


def test_a_bowl_has_one_attractor() -> None:
    place = places_in(stream_of("recall"), IDS, [50])
    (only,) = basins(place, noise(), starts=12)
    assert only.mass == 1.0
    assert only.own
    assert float(at_rest(place, only.state[None])[0]) < 1e-3


def test_patterns_far_apart_are_attractors_of_their_own() -> None:
    model = stream_of("log-sum-exp", num_waves=1, memory_patterns=3)
    memory = model.slopes()[-1].terms[0]
    assert isinstance(memory, LogSumExpMemory)
    with torch.no_grad():
        memory.pattern.zero_()
        for row in range(3):
            memory.pattern[0, row, row] = 4.0
        memory.threshold_bias.zero_()
        memory.log_sharpness.fill_(math.log(20.0))
        memory.strength.fill_(1.0)
    found = basins(places_in(model, IDS, [50]), noise(), starts=64, noise=20.0)
    assert len(found) == 3
    assert sum(basin.mass for basin in found) == pytest.approx(1.0)
    for basin in found:
        direction = basin.state[0] / basin.state[0].norm()
        assert float(direction[:3].max()) > 0.99
    assert sum(basin.own for basin in found) == 1


@pytest.mark.parametrize("config", [STREAM, WINDOW], ids=["stream", "window"])
def test_starts_agree_without_noise_and_less_with_more(config: StreamConfig | WindowConfig) -> None:
    places = places_in(random_model(config), IDS, spread(20, 300, 20))
    assert agreement(places, noise(), noise=0.0).tolist() == [1.0] * 20
    little, much = (float(agreement(places, noise(), noise=n).mean()) for n in (0.02, 3.0))
    assert little > much


def test_the_first_verdict_that_holds_is_given() -> None:
    def verdict(likeness: float, oscillating: float, drifting: float) -> str:
        return judge(
            likeness=likeness,
            ratio=1.0,
            turn=0.0,
            oscillating=oscillating,
            drifting=drifting,
            places=9,
        ).verdict

    assert verdict(0.97, 0.9, 0.0) == "COLLAPSED"
    assert verdict(0.2, 0.6, 0.0) == "OSCILLATING"
    assert verdict(0.2, 0.0, 0.6) == "DRIFT"
    assert verdict(0.2, 0.4, 0.4) == "HEALTHY"


@pytest.mark.parametrize(
    ("share", "verdict"), [(1.98, "OSCILLATING"), (0.02, "DRIFT"), (1.0, "HEALTHY")]
)
def test_a_stream_that_steps_too_far_or_hardly_is_found_out(
    share: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stream_of("recall")
    monkeypatch.setattr(model.slopes()[-1].metric, "share", lambda step: share)
    found = diagnose(model, IDS, 0, 300)
    assert found is not None
    assert found.verdict == verdict
    assert found.sentence.startswith(verdict)


def test_a_model_that_hears_nothing_is_collapsed() -> None:
    for config in (STREAM, WINDOW):
        model = random_model(config)
        with torch.no_grad():
            model.embedding[:] = model.embedding[:1]
            if isinstance(model, StreamModel) and model.phrases is not None:
                model.phrases.out.zero_()
        found = diagnose(model, IDS, 0, 300)
        assert found is not None
        assert found.verdict == "COLLAPSED"
        assert found.likeness == pytest.approx(1.0, abs=1e-2)


def test_without_steps_there_is_no_diagnosis() -> None:
    assert (
        diagnose(random_model(dataclasses.replace(WINDOW, num_dynamics_steps=0)), IDS, 0, 9) is None
    )


def test_a_silenced_band_costs_what_zeroed_channels_cost() -> None:
    model = stream_of("recall")
    whole = score(model, IDS, 100, 300).nats
    found = knock_out(model, IDS, 100, 300, n_bytes=200)
    assert score(model, IDS, 100, 300).nats == whole
    assert sum(loss.channels or 0.0 for loss in found) == pytest.approx(1.0)
    words = {loss.band: loss for loss in found if loss.channels is None}
    assert set(words) == {"what followed before", "what was said lately"}
    with torch.no_grad():
        for stage in model.stages:
            spans = 1 / torch.nn.functional.softplus(stage.coupling.speed)
            stage.coupling.out[:, spans < 3.0] = 0.0
    bits = (score(model, IDS, 100, 300).nats - whole) / math.log(2) / 200
    assert found[0].band == "under 3 tokens"
    assert found[0].bits_per_byte == pytest.approx(bits, rel=1e-9)
    assert bits != 0.0
    # A memory of words that is silenced is one that the model does not have.
    model = stream_of("recall")
    model.text_memory.recency = None
    bits = (score(model, IDS, 100, 300).nats - whole) / math.log(2) / 200
    assert words["what was said lately"].bits_per_byte == pytest.approx(bits, rel=1e-9)
    assert bits != 0.0
    assert words["what followed before"].bits_per_byte not in (0.0, bits)


def test_what_patterns_learned_is_silenced_too() -> None:
    model = stream_of("recall", fast_values=True)
    whole = score(model, IDS, 100, 300).nats
    found = {loss.band: loss for loss in knock_out(model, IDS, 100, 300, n_bytes=200)}
    assert score(model, IDS, 100, 300).nats == whole
    with torch.no_grad():
        model.fast.strength.zero_()
    bits = (score(model, IDS, 100, 300).nats - whole) / math.log(2) / 200
    assert found["what patterns learned of it"].bits_per_byte == pytest.approx(bits, rel=1e-5)
    assert bits != 0.0


def test_distances_of_a_window_are_silenced_one_by_one() -> None:
    model = random_model(WINDOW)
    assert isinstance(model, WindowModel)
    found = knock_out(model, IDS, 100, 300, n_bytes=200)
    assert [loss.band for loss in found] == ["1 token apart", "2 tokens apart", "3 tokens apart"]
    assert sum(loss.channels for loss in found) == pytest.approx(1.0)
    assert len({loss.bits_per_byte for loss in found}) == 3
    # With every distance silenced but one, what is left is a matter of that one alone.
    plain = random_model(dataclasses.replace(WINDOW, coupling=False, wave_coupling=False))
    with pytest.raises(UserError, match="not coupled"):
        knock_out(plain, IDS, 100, 300, n_bytes=200)


@pytest.mark.parametrize("config", [STREAM, WINDOW], ids=["stream", "window"])
def test_a_slice_is_the_energy_around_the_end(config: StreamConfig | WindowConfig) -> None:
    place = places_in(random_model(config), IDS, [50])
    plane = energy_plane(place, grid=5)
    assert plane.energy.shape == (5, 5)
    assert plane.energy.abs().max() > 1e-4
    assert abs(float(plane.energy[2, 2])) < 1e-3 * float(plane.energy.abs().max())
    assert plane.path[-1].tolist() == [0.0, 0.0]
    assert float(plane.path.abs().max()) < float(plane.across.max())


def test_a_gated_memory_is_one_too() -> None:
    assert isinstance(stream_of("gated").slopes()[-1].terms[0], GatedMemory)


def test_trained_runs_are_probed(any_run: Path) -> None:
    engine = Engine.load(any_run)
    ids = np.array(engine.tokenizer.encode("the Fox sees a hill and runs to Ann in the rain"))
    found = diagnose(engine.model, ids, 0, len(ids))
    assert found is not None
    assert found.places > 30
    place = places_in(engine.model, ids, [len(ids)])
    assert basins(place, noise(), starts=6)
    assert spectral_radius(place.update, place.settled()).isfinite().all()
