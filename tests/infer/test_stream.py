"""Scoring and writing with a stream: one past, read once, whatever the length."""

import numpy as np
import pytest
import torch

from boggers.errors import UserError
from boggers.infer import score as scoring
from boggers.infer.engine import Engine
from boggers.infer.score import score
from boggers.model.architectures import settle_otherwise
from boggers.model.stream import StreamConfig, StreamModel
from boggers.text.byte import ByteTokenizer

IDS = np.random.default_rng(0).integers(0, 256, 90).astype(np.uint16)


@pytest.fixture
def stream() -> Engine:
    config = StreamConfig(
        state_dim=16,
        num_stages=2,
        num_waves=2,
        num_dynamics_steps=2,
        memory_patterns=8,
        num_basins=2,
        fast_values=True,
    )
    model = StreamModel(config, 257, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.Generator().manual_seed(1)
            parameter += 0.2 * torch.randn(parameter.shape, generator=noise)
    return Engine(model, ByteTokenizer())


def by_hand(engine: Engine, start: int, stop: int) -> float:
    """-ln p of ids[start:stop], one token at a time from the beginning of the corpus."""
    assert isinstance(engine.model, StreamModel)
    state, total = engine.model.start(1), 0.0
    inputs = np.concatenate([IDS[:1], IDS])
    # Only where the first id is itself predicted is it read twice.
    for place in range(min(1, start), stop):
        with torch.no_grad():
            token = torch.tensor([int(inputs[place])])
            logits, state = engine.model.step(token, state)
        if place >= start:
            total -= float(logits[0].double().log_softmax(dim=0)[int(IDS[place])])
    return total


@pytest.mark.parametrize(
    ("stretch", "start"),
    [(7, 0), (16, 0), (32, 20), (32, 32), (4096, 0), (4096, 20), (4096, 32)],
)
def test_every_token_is_predicted_once_from_its_whole_past(
    stream: Engine, stretch: int, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "STRETCH", stretch)
    found = score(stream.model, IDS, start, 90)
    assert found.tokens == 90 - start
    assert found.nats == pytest.approx(by_hand(stream, start, 90), rel=1e-6)
    assert found.steps == pytest.approx(2)
    assert found.residual > 0
    assert found.energy != 0
    assert found.tension == 0


def test_a_long_past_is_cut_where_it_no_longer_counts(
    stream: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading begins one stretch before the first token that counts."""
    monkeypatch.setattr(scoring, "STRETCH", 8)
    later = score(stream.model, IDS[11:], 20 - 11, 90 - 11)
    assert score(stream.model, IDS, 20, 90).nats == pytest.approx(later.nats, rel=1e-6)


def test_progress_is_told_to_the_end(stream: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "STRETCH", 32)
    told: list[tuple[int, int]] = []
    score(stream.model, IDS, 40, 90, progress=lambda *at: told.append(at))
    assert told == [(32, 50), (50, 50)]


def test_other_steps_and_tolerances_are_taken(stream: Engine) -> None:
    before = score(stream.model, IDS, 20, 60)
    assert score(stream.model, IDS, 20, 60, steps=1).nats != before.nats
    settle_otherwise(stream.model, 4, None)
    assert score(stream.model, IDS, 20, 60).steps == 4
    settle_otherwise(stream.model, None, 0.3)
    assert score(stream.model, IDS, 20, 60).steps < 4


def test_a_model_without_energy_cannot_settle() -> None:
    model = StreamModel(StreamConfig(num_dynamics_steps=0), 9, torch.Generator())
    with pytest.raises(UserError, match="no relaxation steps"):
        settle_otherwise(model, 1, None)


def test_writing_goes_on_from_the_state(stream: Engine) -> None:
    text = stream.generate("The fox", max_tokens=20, seed=3)
    assert text == stream.generate("The fox", max_tokens=20, seed=3)
    assert text != stream.generate("The fox", max_tokens=20, seed=4)
    ids = stream.generate_ids([list(b"The fox")], max_tokens=20, seeds=[3])[0]
    assert stream.tokenizer.decode(ids) == text


def test_rows_of_different_lengths_write_what_they_would_write_alone(stream: Engine) -> None:
    prompts = [list(b"The fox"), list(b"A"), [], list(b"and a red hill")]
    together = stream.generate_ids(prompts, max_tokens=12, seeds=[1, 2, 3, 4])
    for prompt, seed, row in zip(prompts, [1, 2, 3, 4], together, strict=True):
        assert stream.generate_ids([prompt], max_tokens=12, seeds=[seed])[0] == row


def test_every_position_of_a_prompt_can_be_watched(stream: Engine) -> None:
    reading = stream.follow("The fox")
    assert len(reading.settled) == 2
    rest = reading.settled[0]
    assert rest.energy is not None
    assert rest.energy.shape == (2, 1, 7)
    assert rest.path is not None
    with pytest.raises(UserError, match="window"):
        stream.trace("The fox")
