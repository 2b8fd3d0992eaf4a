"""Writing with a model: seeds, streams, batches, windows."""

from pathlib import Path

import pytest
import torch

from boggers.errors import UserError
from boggers.files import write_folder, write_json
from boggers.infer.engine import Engine, find_checkpoint, load
from boggers.infer.sampling import Sampling
from boggers.model.weights import save_model
from boggers.text.gpt2 import FallbackTokenizer, GPT2Tokenizer


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


def scripted(monkeypatch: pytest.MonkeyPatch, script: dict[int, list[int]]) -> None:
    """Let rows that begin with an id continue with the ids written down for it."""

    def draw(_: object, rows: list[list[int]], *__: object) -> list[int]:
        return [script[row[0]][len(row) - 1] for row in rows]

    monkeypatch.setattr("boggers.infer.engine.next_ids", draw)


def test_separators_end_a_text_only_when_asked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, {97: [98, 256, 99, 100]})
    assert engine.generate("a", max_tokens=4) == "abcd"
    assert engine.generate("a", max_tokens=4, sampling=Sampling(stop_at_separator=True)) == "ab"


def test_a_row_that_ends_leaves_the_others_going(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, {1: [2, 256, 3], 4: [5, 6, 7], 8: [256, 9, 9]})

    def rows(sampling: Sampling) -> list[list[int]]:
        return engine.generate_ids(
            [[1], [4], [8]], max_tokens=3, sampling=sampling, seeds=[0, 0, 0]
        )

    assert rows(Sampling(stop_at_separator=True)) == [[1, 2], [4, 5, 6, 7], [8]]
    assert rows(Sampling()) == [[1, 2, 256, 3], [4, 5, 6, 7], [8, 256, 9, 9]]


def test_a_character_is_shown_when_all_its_bytes_are_there(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, {97: [0xE2, 0x82, 0xAC, 98, 0xE2]})
    assert list(engine.stream("a", max_tokens=5)) == ["€", "b", "\ufffd"]


def test_every_prompt_needs_a_seed(engine: Engine) -> None:
    with pytest.raises(UserError, match="2 prompts and 1 seeds"):
        engine.generate_ids([[1], [2]], max_tokens=1, seeds=[0])


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


@pytest.fixture
def run(engine: Engine, tmp_path: Path) -> Path:
    """A run folder with checkpoints of the steps 5, 40 and ten million."""
    engine.tokenizer.save(tmp_path / "tokenizer")
    for step in (5, 40, 10_000_000):

        def fill(folder: Path) -> None:
            save_model(engine.model, folder)
            origin = {"tokenizer": engine.tokenizer.fingerprint}
            write_json(folder / "state.json", {"origin": origin})

        write_folder(tmp_path / "checkpoints" / f"step-{step:07d}", fill)
    return tmp_path


def test_a_loaded_run_writes_what_was_saved(engine: Engine, run: Path) -> None:
    expected = engine.generate("abc", max_tokens=9, seed=1)
    assert Engine.load(run).generate("abc", max_tokens=9, seed=1) == expected
    assert load(run, step=5).generate("abc", max_tokens=9, seed=1) == expected


def test_the_newest_whole_checkpoint_is_found_or_that_of_a_step(run: Path) -> None:
    (run / "checkpoints" / "step-0000041").mkdir()
    (run / "checkpoints" / "step-0000042.bak").mkdir()
    (run / "checkpoints" / "step-0000042.bak" / "manifest.json").write_text("{}")
    assert find_checkpoint(run).name == "step-10000000"
    assert find_checkpoint(run, 40).name == "step-0000040"
    with pytest.raises(UserError, match="no whole checkpoint of step 41"):
        find_checkpoint(run, 41)


def test_a_run_with_another_tokenizer_is_refused(run: Path) -> None:
    FallbackTokenizer(257).save(run / "tokenizer")
    with pytest.raises(UserError, match="another tokenizer"):
        Engine.load(run)
