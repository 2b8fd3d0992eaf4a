"""No job is ever nowhere: while its prompt is read, between two turns, after a defect."""

import dataclasses
import threading
from collections.abc import Sequence

import pytest

from boggers.serve import turns as turns_module
from boggers.serve.engine import QueueFullError, ServingEngine
from boggers.serve.limits import Limits
from boggers.serve.metrics import Metrics
from boggers.serve.mind import Mind
from boggers.serve.turns import Turns
from boggers.serve.work import Event, Failed, Ticket

from .conftest import Pending, job


class Halting(Metrics):
    """Counts, but halts the engine at one place until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.may_go_on = threading.Event()

    def halt(self) -> None:
        self.reached.set()
        assert self.may_go_on.wait(30)


class HaltingWhileReading(Halting):
    def on_sizes(self, running: int, reading: int, waiting: int, cache_bytes: int) -> None:
        super().on_sizes(running, reading, waiting, cache_bytes)
        if reading:
            self.halt()


class Defective(Metrics):
    def on_prompt(self, tokens: int, cached: int, seconds: float) -> None:
        raise ZeroDivisionError


def test_what_is_being_read_takes_its_room(mind: Mind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "PATIENCE", 0.0)  # a chunk a turn
    observer = HaltingWhileReading()
    engine = ServingEngine(Limits(max_batch=1, max_choices=1, max_queue=1), observer)
    first = Pending(engine, job(mind, "x" * 1000, max_tokens=2))
    assert observer.reached.wait(30)
    second = Pending(engine, job(mind, max_tokens=2))
    with pytest.raises(QueueFullError):
        Pending(engine, job(mind))
    observer.may_go_on.set()
    assert [one.answer().ended[0].written for one in (first, second)] == [2, 2]
    engine.close()


def test_a_defect_while_a_prompt_is_read_is_told(mind: Mind) -> None:
    told: list[Event] = []

    def deliver(events: Sequence[tuple[Ticket, Event]]) -> None:
        told.extend(event for _, event in events)

    turns = Turns(0, Defective())
    turns.begin(Ticket(job(mind), deliver, 0.0))
    with pytest.raises(ZeroDivisionError):
        turns.go_on()
    turns.end([])
    assert [event.kind for event in told if isinstance(event, Failed)] == ["closed"]
    assert not turns.busy


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_at_the_beginning_of_a_job_is_told(mind: Mind) -> None:
    engine = ServingEngine(Limits(), Metrics())
    nothing_settles_like_that = dataclasses.replace(job(mind), dials=None)  # type: ignore[arg-type]
    answer = Pending(engine, nothing_settles_like_that).answer()
    assert answer.failed is not None
    assert answer.failed.kind == "closed"
    engine.close()
