"""The engine without HTTP: what it says, in what company, and how it ends."""

import random
import threading
import time

import pytest
import torch

from boggers.infer.sampling import Sampling
from boggers.model.stream import StreamModel
from boggers.serve.engine import EngineClosedError, QueueFullError, ServingEngine
from boggers.serve.limits import Limits
from boggers.serve.metrics import Metrics
from boggers.serve.mind import Mind
from boggers.serve.work import Ended, Piece, PromptRead

from .conftest import Ask, Pending, Submit, job, stream_mind, window_mind

PROMPTS = ["a", "the ", "Whales are large", "x" * 300, "und so weiter, und so fort"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_same_seed_writes_what_the_command_line_writes(
    mind: Mind, ask: Ask, prompt: str
) -> None:
    answer = ask(mind, prompt, max_tokens=25, seed=7)
    assert prompt + answer.text[0] == mind.engine.generate(prompt, max_tokens=25, seed=7)
    assert answer.ended[0].written == 25
    assert answer.ended[0].reason == "length"


def test_a_text_is_the_same_alone_and_among_many_to_the_last_bit(
    mind: Mind, engine: ServingEngine
) -> None:
    wanted = [
        job(
            mind,
            f"{number} " * (1 + number % 40),
            max_tokens=5 + number % 17,
            seed=number,
            measure=True,
            top_logprobs=3,
        )
        for number in range(64)
    ]
    alone = [Pending(engine, one).answer() for one in wanted[::7]]
    order = list(wanted)
    random.Random(0).shuffle(order)
    pending = {one.seed: Pending(engine, one) for one in order}
    together = {seed: one.answer() for seed, one in pending.items()}
    for one, answer in zip(wanted[::7], alone, strict=True):
        assert together[one.seed].tokens == answer.tokens  # ids, ln p, energies: exactly
        assert together[one.seed].text == answer.text


def test_two_minds_and_other_dials_share_a_turn(submit: Submit, ask: Ask) -> None:
    minds = [stream_mind(), window_mind(name="other")]
    alone = {(m.name, k): ask(m, seed=3, steps=k).text[0] for m in minds for k in (1, 4)}
    assert len(set(alone.values())) == 4
    pending = {key: submit(minds[key[0] == "other"], seed=3, steps=key[1]) for key in alone}
    assert {key: one.answer().text[0] for key, one in pending.items()} == alone


def test_choices_draw_with_seeds_that_follow_one_another(mind: Mind, ask: Ask) -> None:
    answer = ask(mind, choices=4, seed=10, max_tokens=12)
    for choice in range(4):
        assert answer.text[choice] == ask(mind, seed=10 + choice, max_tokens=12).text[0]
        assert answer.ended[choice].logprob is not None


def test_log_probabilities_are_those_of_the_model(mind: Mind, ask: Ask) -> None:
    prompt = "abcdef"
    answer = ask(mind, prompt, max_tokens=8, top_logprobs=4, echo=True, seed=2)
    assert answer.prompt is not None
    told = [*answer.prompt.tokens, *answer.tokens[0]]
    assert [one.id for one in told[:6]] == list(b"abcdef")
    assert told[0].logprob is None
    ids = [one.id for one in told]
    for place in range(1, len(ids)):
        with torch.no_grad():
            if mind.architecture == "stream":
                logits, _ = mind.model.prefill(torch.tensor([ids[:place]]))  # type: ignore[union-attr]
            else:
                context = ([ids[0]] * 4 + ids[:place])[-4:]
                logits = mind.model(torch.tensor([context])).logits
        expected = logits[0].double().log_softmax(dim=0)
        assert told[place].logprob == pytest.approx(float(expected[ids[place]]), abs=1e-4)
        assert len(told[place].top) == 4
        assert told[place].top[0][1] == pytest.approx(float(expected.max()), abs=1e-4)


def test_echo_does_not_depend_on_chunks_or_the_rest(mind: Mind, ask: Ask) -> None:
    short = ask(mind, "w" * 400, echo=True, top_logprobs=0, max_tokens=0)
    long = ask(mind, "w" * 400 + "abc", echo=True, top_logprobs=0, max_tokens=3)
    assert short.prompt is not None
    assert long.prompt is not None
    assert len(short.prompt.tokens) == 400
    assert [t.logprob for t in long.prompt.tokens[1:380]] == pytest.approx(
        [t.logprob for t in short.prompt.tokens[1:380]], abs=1e-5
    )
    assert short.ended[0].written == 0


def test_physics_comes_with_every_token_when_asked(mind: Mind, ask: Ask) -> None:
    steps = 2 * 2 if mind.architecture == "stream" else 3
    answer = ask(mind, measure=True, max_tokens=6)
    for physics in answer.physics:
        assert physics is not None
        assert physics.steps == steps == len(physics.energies) == len(physics.tensions)
        assert physics.residual > 0
        assert physics.tension == pytest.approx(physics.tensions[-1])
    assert ask(mind, max_tokens=2).physics == [None, None]


def test_steps_and_tolerance_are_the_requests_own(mind: Mind, ask: Ask) -> None:
    more = ask(mind, measure=True, steps=6, max_tokens=4)
    calm = ask(mind, measure=True, steps=6, tolerance=1e6, max_tokens=4)
    for one, other in zip(more.physics, calm.physics, strict=True):
        assert one is not None
        assert other is not None
        assert other.steps < one.steps
    plain = ask(mind, max_tokens=30)
    assert plain.text == ask(mind, max_tokens=30).text != ask(mind, steps=1, max_tokens=30).text
    # A recall is at rest after its two steps; a window goes on.
    stays = ask(mind, steps=6, max_tokens=30).text == plain.text
    assert stays == isinstance(mind.model, StreamModel)


def test_zero_steps_read_states_unsettled(mind: Mind, ask: Ask) -> None:
    answer = ask(mind, steps=0, max_tokens=9)
    assert answer.failed is None
    assert answer.ended[0].written == 9


def test_stop_strings_end_a_text_and_are_no_part_of_it(mind: Mind, ask: Ask) -> None:
    whole = ask(mind, max_tokens=40, seed=5).text[0]
    stop = whole[10:13]
    at = whole.find(stop)
    answer = ask(mind, max_tokens=40, seed=5, stop=("never there", stop))
    assert answer.text.get(0, "") == whole[:at]
    assert answer.ended[0].reason == "stop"
    assert answer.ended[0].matched == stop
    assert answer.ended[0].written < 40


def test_the_separator_ends_a_text_only_if_it_may(ask: Ask) -> None:
    mind = stream_mind()
    eager = {256: 100.0}
    ends = Sampling(logit_bias=eager, stop_at_separator=True)
    answer = ask(mind, sampling=ends, max_tokens=5)
    assert answer.ended[0].why == "separator"
    assert answer.ended[0].written == 1
    assert answer.text == {0: ""}
    assert answer.ids == [256]
    assert ask(mind, sampling=Sampling(logit_bias=eager), max_tokens=5).ended[0].written == 5


def test_penalties_count_what_the_text_has_written(mind: Mind, ask: Ask) -> None:
    def repeats(**options: float) -> int:
        sampling = Sampling(temperature=0, **options)
        ids = [t.id for t in ask(mind, sampling=sampling, max_tokens=40).tokens[0]]
        return len(ids) - len(set(ids))

    assert repeats(frequency_penalty=2.0) < repeats()
    assert repeats(presence_penalty=2.0) < repeats()


def test_a_cancelled_text_stops_and_the_others_go_on(mind: Mind, submit: Submit) -> None:
    long = submit(mind, max_tokens=100_000)
    other = submit(mind, max_tokens=50, seed=9)
    assert isinstance(long.next(), PromptRead)
    assert isinstance(long.next(), Piece)
    long.ticket.cancel()
    assert other.answer().ended[0].written == 50
    later = submit(mind, max_tokens=3).answer()
    assert later.ended[0].written == 3
    while not long.silent:
        assert not isinstance(long.next(), Ended)


def test_time_limits_writing_and_waiting(mind: Mind, submit: Submit) -> None:
    answer = submit(mind, max_tokens=1_000_000, seconds=0.3).answer()
    assert answer.ended[0].why == "time"
    assert answer.ended[0].reason == "length"
    assert answer.ended[0].written == len(answer.ids)

    engine = ServingEngine(Limits(max_batch=1, max_choices=1), Metrics())
    first = Pending(engine, job(mind, max_tokens=1_000_000, seconds=5))
    first.next()
    second = Pending(engine, job(mind, max_tokens=1, seconds=0.05)).answer()
    assert second.failed is not None
    assert second.failed.kind == "timeout"
    first.ticket.cancel()
    engine.close()


def test_the_queue_has_an_end(mind: Mind) -> None:
    engine = ServingEngine(Limits(max_batch=1, max_choices=1, max_queue=2), Metrics())
    running = Pending(engine, job(mind, max_tokens=1_000_000))
    running.next()
    waiting = [Pending(engine, job(mind, max_tokens=2)) for _ in range(2)]
    began = time.monotonic()
    with pytest.raises(QueueFullError):
        Pending(engine, job(mind))
    assert time.monotonic() - began < 0.2
    running.ticket.cancel()
    assert [one.answer().ended[0].written for one in waiting] == [2, 2]
    engine.close()


def test_clients_take_turns(mind: Mind) -> None:
    engine = ServingEngine(Limits(max_batch=1, max_choices=1), Metrics())
    done: list[str] = []
    running = Pending(engine, job(mind, max_tokens=1_000_000))
    running.next()
    pending = [Pending(engine, job(mind, max_tokens=3, client="greedy")) for _ in range(6)]
    pending.append(Pending(engine, job(mind, max_tokens=3, client="modest")))
    threads = [
        threading.Thread(target=lambda p=p: done.append((p.answer(), p.job.client)[1]))
        for p in pending
    ]
    for thread in threads:
        thread.start()
    running.ticket.cancel()
    for thread in threads:
        thread.join()
    assert done.index("modest") <= 2
    engine.close()


def test_closing_tells_whoever_still_waits(mind: Mind) -> None:
    engine = ServingEngine(Limits(max_batch=1, max_choices=1), Metrics())
    pending = [Pending(engine, job(mind, max_tokens=1_000_000)) for _ in range(3)]
    pending[0].next()
    engine.close()
    for one in pending:
        answer = one.answer()
        assert answer.failed is not None
        assert answer.failed.kind == "closed"
    with pytest.raises(EngineClosedError):
        engine.submit([job(mind)], lambda _: None)


def test_numbers_that_are_not_finite_fail_one_text_only(ask: Ask, submit: Submit) -> None:
    ill = stream_mind(name="ill")
    with torch.no_grad():
        ill.model.embedding[ord("z")] = torch.nan
    well = stream_mind()
    good = submit(well, max_tokens=30)
    bad = ask(ill, "z", sampling=Sampling())
    assert bad.failed is not None
    assert bad.failed.kind == "broken"
    assert good.answer().ended[0].written == 30
