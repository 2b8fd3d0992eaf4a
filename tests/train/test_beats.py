"""Beats: due by the text that was read, holding all of it, the same whatever the batches."""

import dataclasses

import pytest
import torch
from torch import Tensor

from boggers.graph.memory import TokenMemory
from boggers.train.beats import Beat, Beats
from boggers.train.graph_config import BEAT_TOKENS, GraphConfig
from boggers.train.objective import objective
from boggers.train.prepare import prepare
from boggers.train.substrate import GraphCoupling
from tests.train.conftest import MakeConfig


def batches(rows: int, count: int) -> list[Tensor]:
    """Batches of windows of 8 tokens, drawn from a small vocabulary."""
    generator = torch.Generator().manual_seed(rows)
    return [torch.randint(50, (rows, 8), generator=generator) for _ in range(count)]


def beats_of(read: list[Tensor], every: int) -> list[Beat | None]:
    beats = Beats(every)
    return [beats.add(ids, torch.tensor(float(n))) for n, ids in enumerate(read)]


def test_the_first_batch_is_a_beat_and_then_as_many_tokens_are() -> None:
    found = beats_of(batches(rows=4, count=9), every=100)  # 32 tokens each
    assert [n for n, beat in enumerate(found) if beat is not None] == [0, 4, 8]
    first, second = found[0], found[4]
    assert first is not None
    assert second is not None
    assert first.tokens.numel() == 32
    assert second.tokens.tolist() == torch.cat(batches(4, 9)[1:5]).flatten().tolist()
    assert [float(tension) for tension in second.tensions] == [1, 2, 3, 4]
    assert second.tension is not None
    assert float(second.tension) == 2.5


def test_a_batch_as_large_as_a_beat_is_one() -> None:
    read = batches(rows=4, count=5)
    for every in (1, 32):
        for ids, beat in zip(read, beats_of(read, every), strict=True):
            assert beat is not None
            assert beat.tokens is ids  # nothing is copied


def test_where_nothing_settles_a_beat_has_no_tension() -> None:
    beats = Beats(64)
    found = [beats.add(ids, None) for ids in batches(4, 3)]
    assert found[0] is not None
    assert found[0].tension is None
    assert found[1] is None
    assert found[2] is not None
    assert found[2].tensions == ()


def test_a_memory_ends_alike_in_few_large_batches_and_in_many_small_ones() -> None:
    large = batches(rows=64, count=6)
    small = [part for ids in large for part in ids.split(16)]

    def remembered(read: list[Tensor]) -> TokenMemory:
        memory, beats = TokenMemory(50), Beats(64 * 8)
        beats.add(large[0], None)  # the first beat is its own length whatever it is
        for ids in read:
            beat = beats.add(ids, None)
            if beat is not None:
                memory.tick(beat.tokens)
        return memory

    one, other = remembered(large), remembered(small)
    assert one.ticks == other.ticks == 6
    assert torch.equal(one.activation, other.activation)
    assert torch.equal(one.state, other.state)


@pytest.mark.parametrize("done", [0, 1, 3, 4, 6])
def test_a_beat_goes_on_from_what_was_saved(done: int) -> None:
    read = batches(rows=4, count=9)
    whole = beats_of(read, 100)
    before, after = Beats(100), Beats(100)
    for n in range(done):
        before.add(read[n], torch.tensor(float(n)))
    if done:
        after.restore(before.tensors(), torch.device("cpu"))
    for n in range(done, len(read)):
        found, expected = after.add(read[n], torch.tensor(float(n))), whole[n]
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert found.tokens.flatten().tolist() == expected.tokens.flatten().tolist()
            assert found.tension == expected.tension
            assert [ids.numel() for ids in found.read] == [ids.numel() for ids in expected.read]


def test_how_long_a_beat_is_unless_said() -> None:
    assert GraphConfig(use_goat_memory=True).beat == BEAT_TOKENS
    assert GraphConfig(use_substrate=True, substrate_original=True).beat == 1
    assert GraphConfig(use_substrate=True, substrate_original=True, beat_tokens=5).beat == 5


def test_graph_and_memory_rest_between_beats(make_config: MakeConfig) -> None:
    graph = GraphConfig(
        use_substrate=True, use_goat_memory=True, beat_tokens=200, language_threshold=0.0
    )
    config = dataclasses.replace(make_config(batch_size=16, max_steps=1), graph=graph)
    prepared = prepare(config)
    coupling = prepared.coupling
    assert isinstance(coupling, GraphCoupling)
    assert coupling.memory is not None
    assert coupling.substrate is not None
    loss = objective(prepared.model, prepared.batch(0, 0), config.loss, torch.Generator())
    ticks, felt = [], []
    for tension in (0.1, 0.2, 0.3, 0.4, 0.9):  # 64 tokens each: due with the first and the fifth
        now = dataclasses.replace(loss, settling={"tension": torch.tensor(tension)})
        coupling.after_step(prepared.batch(0, 0), now)
        coupling.before_step()
        ticks.append(coupling.memory.ticks)
        felt.append(coupling.substrate.node.total.batches)
    assert ticks == felt == [1, 1, 1, 1, 2]
    node = coupling.substrate.node
    assert node.graph.base[node.graph.number("llm_substrate")] == pytest.approx(0.45)
    coupling.close()
