"""Scoring: every token once, by hand, whatever the batch."""

import numpy as np
import pytest
import torch

from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.infer.score import score
from boggers.model.window import WindowConfig, WindowModel

IDS = np.random.default_rng(0).integers(0, 256, 60).astype(np.uint16)


def test_every_token_is_predicted_once_from_the_tokens_before_it(engine: Engine) -> None:
    total = 0.0
    for place in range(20, 60):
        context = torch.tensor(IDS[place - 4 : place].astype(np.int64))[None]
        with torch.no_grad():
            logits = engine.model(context).logits[0].double()
        total -= float(logits.log_softmax(dim=0)[int(IDS[place])])
    found = score(engine.model, IDS, 20, 60)
    assert found.tokens == 40
    assert found.nats == pytest.approx(total, rel=1e-6)


def test_the_cross_entropy_is_taken_in_double_precision(engine: Engine) -> None:
    contexts = torch.tensor([IDS[i - 4 : i].astype(np.int64).tolist() for i in range(20, 60)])
    with torch.inference_mode():
        logits = engine.model(contexts).logits.double()
    expected = -logits.log_softmax(dim=1)[torch.arange(40), torch.from_numpy(IDS[20:].astype(int))]
    assert score(engine.model, IDS, 20, 60).nats == pytest.approx(float(expected.sum()), rel=1e-13)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_the_batch_does_not_change_the_score(engine: Engine, batch_size: int) -> None:
    whole = score(engine.model, IDS, 20, 60)
    parts = score(engine.model, IDS, 20, 60, batch_size=batch_size)
    assert parts.nats == pytest.approx(whole.nats, rel=1e-6)
    assert parts.tension == pytest.approx(whole.tension, rel=1e-5)
    assert parts.steps == 3


def test_the_first_tokens_of_a_corpus_repeat_its_first_id(engine: Engine) -> None:
    padded = np.concatenate([np.repeat(IDS[:1], 4), IDS])
    expected = score(engine.model, padded, 4, 64).nats
    assert score(engine.model, IDS, 0, 60).nats == pytest.approx(expected, rel=1e-6)


def test_other_relaxation_steps_give_another_score(engine: Engine) -> None:
    assert score(engine.model, IDS, 20, 60).nats != score(engine.model, IDS, 20, 60, steps=1).nats
    assert score(engine.model, IDS, 20, 60, steps=0).steps == 0


def test_progress_is_told_to_the_end(engine: Engine) -> None:
    told: list[tuple[int, int]] = []
    score(engine.model, IDS, 20, 60, batch_size=16, progress=lambda *at: told.append(at))
    assert told == [(16, 40), (32, 40), (40, 40)]


def test_nothing_to_score_is_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="no tokens to score"):
        score(engine.model, IDS, 20, 20)


def test_noisy_breaks_do_not_make_the_score_depend_on_the_batch() -> None:
    config = WindowConfig(
        state_dim=16, num_waves=2, window_size=4, num_dynamics_steps=3, gaussian_breaks=True
    )
    model = WindowModel(config, 257, torch.Generator().manual_seed(0)).eval()
    whole = score(model, IDS, 20, 60)
    assert score(model, IDS, 20, 60, batch_size=7).nats == pytest.approx(whole.nats, rel=1e-6)
    assert score(model, IDS, 20, 60).nats == whole.nats
