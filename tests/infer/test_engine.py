"""Writing with a model: seeds, streams, batches, windows."""

import pytest
import torch

from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.infer.sampling import Sampling
from boggers.text.gpt2 import GPT2Tokenizer


def test_a_seed_fixes_the_text(engine: Engine) -> None:
    first = engine.generate("abc", max_tokens=30, seed=1)
    assert first.startswith("abc")
    assert engine.generate("abc", max_tokens=30, seed=1) == first
    assert engine.generate("abc", max_tokens=30, seed=2) != first


def test_a_stream_adds_up_to_the_text(engine: Engine) -> None:
    pieces = list(engine.stream("ab", max_tokens=40, seed=3))
    assert len(pieces) > 3
    assert "ab" + "".join(pieces) == engine.generate("ab", max_tokens=40, seed=3)


def test_rows_of_a_batch_write_what_they_would_write_alone(engine: Engine) -> None:
    prompts = [[1, 2, 3, 4, 5], [7], [9, 9]]
    together = engine.generate_ids(prompts, max_tokens=12, seeds=[4, 5, 6])
    for prompt, seed, row in zip(prompts, [4, 5, 6], together, strict=True):
        assert engine.generate_ids([prompt], max_tokens=12, seeds=[seed])[0] == row
        assert len(row) == len(prompt) + 12


def test_only_the_last_window_counts_and_short_prompts_repeat_their_first_id(
    engine: Engine,
) -> None:
    def continued(prompt: list[int]) -> list[int]:
        greedy = Sampling(temperature=0)
        row = engine.generate_ids([prompt], max_tokens=8, sampling=greedy, seeds=[0])[0]
        return row[-8:]

    assert continued([50, 60, 1, 2, 3, 4]) == continued([1, 2, 3, 4])
    assert continued([5]) == continued([5, 5, 5, 5])


def test_an_empty_prompt_starts_a_document(engine: Engine) -> None:
    assert engine.generate_ids([[]], max_tokens=2, seeds=[0])[0][0] == 256
    assert isinstance(engine.generate("", max_tokens=5), str)


def test_a_trace_keeps_curves_and_path(engine: Engine) -> None:
    trace = engine.trace("hello")
    assert trace.tension.shape == (3, 1)
    assert trace.path is not None
    assert len(trace.path) == 3
    assert len(engine.trace("hello", steps=7).tension) == 7
    assert torch.equal(engine.trace("hello").state, trace.state)


def test_a_tokenizer_of_another_vocabulary_is_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="257 tokens"):
        Engine(engine.model, GPT2Tokenizer(512))


def test_a_missing_run_is_named(tmp_path: object) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Engine.load(f"{tmp_path}/absent")
    with pytest.raises(UserError, match="holds no whole checkpoint"):
        Engine.load(f"{tmp_path}")
