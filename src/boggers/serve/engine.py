"""The engine: texts of many clients, written together while they come and go.

One thread holds the models and does everything in turns. A turn takes waiting jobs in, reads a
little of their prompts, gives every text that is being written one more token, and hands out
what has happened. Any thread may submit and cancel. What a text says does not depend on the
company in which it is written; see `flock.py`.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch

from boggers.errors import UserError
from boggers.serve.dials import Dials
from boggers.serve.flock import Driver, Flock, driver_for
from boggers.serve.limits import MEGABYTE, Limits
from boggers.serve.mind import Mind
from boggers.serve.physics import Physics
from boggers.serve.prefixes import PrefixCache
from boggers.serve.queueing import FairQueue
from boggers.serve.reading import Reading, wide
from boggers.serve.work import Deliver, Ended, Event, Failed, Job, Ticket
from boggers.serve.writing import Writing

log = logging.getLogger(__name__)

PATIENCE = 0.03
"""Seconds of a turn that go into prompts while texts are being written."""

MEASURED = 8
"""Every so many steps the physics is measured even if no request asked for it."""

DRIVERS = 32
"""Combinations of model and dials whose drivers are kept at hand."""


class QueueFullError(Exception):
    """The queue is full."""


class EngineClosedError(Exception):
    """The engine takes no more jobs."""


class Observer(Protocol):
    """Counts what the engine does; called in its thread."""

    def on_prompt(self, tokens: int, cached: int, seconds: float) -> None:
        """A prompt has been read; the seconds are those since it was submitted."""

    def on_step(self, texts: int, steps: int, seconds: float) -> None:
        """Every text has one more token; `steps` is the sum of their relaxation steps."""

    def on_physics(self, physics: Physics, dials: Dials) -> None:
        """How a position settled."""

    def on_token(self, first: bool, seconds: float) -> None:
        """A token, so long after the one before it, or the first after the submission."""

    def on_end(self, reason: str, tokens: int, seconds: float) -> None:
        """A choice, or a whole job, has ended."""

    def on_sizes(self, running: int, reading: int, waiting: int, cache_bytes: int) -> None:
        """How many texts and jobs there are after a turn."""


class _Group:
    """Texts that settle alike, and who they are."""

    def __init__(self, flock: Flock) -> None:
        self.flock = flock
        self.writings: list[Writing] = []


class ServingEngine:
    """Writes texts for many clients at once.

    Args:
        limits: how many at once, how many may wait.
        observer: counts what happens.
    """

    def __init__(self, limits: Limits, observer: Observer) -> None:
        self.limits = limits
        self.latest: Physics | None = None
        """How the position settled that was measured last."""
        self._observer = observer
        self._wake = threading.Condition()
        self._queue = FairQueue()
        self._readings: deque[Reading] = deque()
        self._groups: dict[tuple[str, Dials], _Group] = {}
        self._drivers: dict[tuple[str, Dials], Driver] = {}
        self._cache = PrefixCache(int(limits.prefix_cache_mb * MEGABYTE))
        self._outbox: list[tuple[Ticket, Event]] = []
        self._turns = 0
        self._taken = 0
        self._retired: set[str] = set()
        self._closing = False
        self._draining = False
        self._thread = threading.Thread(target=self._run, name="boggers-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it does its turns."""
        return self._thread.is_alive() and not self._closing

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    def submit(self, jobs: Sequence[Job], deliver: Deliver) -> list[Ticket]:
        """Put jobs into the queue, all of them or none; from any thread.

        Raises:
            QueueFullError: there is no room for all of them.
            EngineClosedError: the engine is going away.
        """
        now = time.monotonic()
        tickets = [Ticket(job, deliver, now) for job in jobs]
        with self._wake:
            if self._closing or self._draining or not self._thread.is_alive():
                raise EngineClosedError
            # What can begin at once does not wait.
            free = max(0, self.limits.max_batch - self._taken)
            if len(self._queue) + len(tickets) > self.limits.max_queue + free:
                raise QueueFullError
            for ticket in tickets:
                self._queue.put(ticket)
            self._wake.notify()
        return tickets

    def drain(self, seconds: float) -> bool:
        """Take no more jobs and finish those there are; whether all are finished in that time."""
        with self._wake:
            self._draining = True
            self._wake.notify()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._wake:
                if not self._busy():
                    return True
            time.sleep(0.01)
        return False

    def retire(self, fingerprint: str) -> None:
        """No new job will be of this checkpoint: let its memory go when its last text is done."""
        with self._wake:
            self._retired.add(fingerprint)
            self._wake.notify()

    def close(self) -> None:
        """End the thread; jobs that are not finished fail."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        """The thread: turns until it is closed."""
        try:
            with torch.no_grad():
                while self._wait():
                    self._turn()
        finally:
            # Also after a defect of ours: nobody must wait for a thread that is gone.
            self._fail_all()

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when the engine is closed."""
        with self._wake:
            while not (self._closing or self._retired or self._busy()):
                self._wake.wait()
            return not self._closing

    def _busy(self) -> bool:
        return bool(self._queue or self._readings or self._groups)

    def _turn(self) -> None:
        self._turns += 1
        self._forget()
        self._sweep()
        self._admit()
        self._read()
        for key in list(self._groups):
            self._step(key)
        self._hand_out()
        self._taken = running = sum(len(group.writings) for group in self._groups.values())
        self._observer.on_sizes(running, len(self._readings), len(self._queue), self._cache.nbytes)

    def _forget(self) -> None:
        """Drop what belongs to checkpoints that are no longer served."""
        with self._wake:
            retired, self._retired = self._retired, set()
        if retired:
            self._cache.clear()
        for key in [key for key in self._drivers if key[0] in retired]:
            del self._drivers[key]

    def _sweep(self) -> None:
        """Let go of what nobody waits for, and of what has run out of time."""
        now = time.monotonic()
        with self._wake:
            over = [t for t in self._queue if t.cancelled or now >= t.deadline]
            self._queue.drop_if({id(ticket) for ticket in over})
        for reading in [r for r in self._readings if _over(r.ticket, now)]:
            over.append(reading.ticket)
            self._readings.remove(reading)
        for ticket in over:
            self._give_up(ticket, now)
        for key, group in list(self._groups.items()):
            late = [place for place, w in enumerate(group.writings) if _over(w.ticket, now)]
            for place in late:
                writing = group.writings[place]
                if writing.ticket.cancelled:
                    self._observer.on_end("abort", writing.written, now - writing.ticket.submitted)
                else:
                    self._finish(group, place, *writing.stop())
            self._drop(key, late)

    def _give_up(self, ticket: Ticket, now: float) -> None:
        """A job that wrote nothing: nobody waits for it, or its time is over."""
        reason = "abort" if ticket.cancelled else "timeout"
        self._observer.on_end(reason, 0, now - ticket.submitted)
        if not ticket.cancelled:
            self._outbox.append(
                (
                    ticket,
                    Failed(
                        "timeout",
                        f"The request waited for {ticket.job.seconds:g} seconds and its turn did "
                        "not come. Try again later.",
                    ),
                )
            )

    def _admit(self) -> None:
        """Begin with waiting jobs while there is room."""
        taken = sum(len(group.writings) for group in self._groups.values())
        taken += sum(reading.ticket.job.choices for reading in self._readings)
        while True:
            with self._wake:
                ticket = self._queue.peek()
                if ticket is None or taken + ticket.job.choices > self.limits.max_batch:
                    return
                ticket = self._queue.take()
            taken += ticket.job.choices
            self._taken = taken
            job = ticket.job
            try:
                driver = self._driver(job.mind, job.dials)
            except (RuntimeError, UserError) as error:
                self._break(ticket, error)
                continue
            self._readings.append(Reading(ticket, driver, self._cache))

    def _driver(self, mind: Mind, dials: Dials) -> Driver:
        key = (mind.fingerprint, dials)
        if key not in self._drivers:
            if len(self._drivers) >= DRIVERS:
                self._drivers.pop(next(iter(self._drivers)))
            self._drivers[key] = driver_for(mind.model, dials)
        return self._drivers[key]

    def _read(self) -> None:
        """Read prompts for a while, in turns; all there are if nothing else is to be done."""
        end = time.monotonic() + PATIENCE
        while self._readings:
            reading = self._readings.popleft()
            try:
                if not reading.done:
                    reading.advance()
            except (RuntimeError, UserError) as error:
                self._break(reading.ticket, error)
                continue
            if reading.done:
                self._begin(reading)
            else:
                self._readings.append(reading)
            if time.monotonic() >= end:
                return

    def _begin(self, reading: Reading) -> None:
        """The prompt is read: go on to writing."""
        ticket, job = reading.ticket, reading.ticket.job
        self._observer.on_prompt(len(job.ids), reading.cached, time.monotonic() - ticket.submitted)
        self._outbox.append((ticket, reading.report()))
        writings = reading.writings()
        if job.max_tokens == 0:
            for writing in writings:
                saved = writing.saved(reading.place) if job.save else None
                ended = Ended(writing.choice, "length", "max_tokens", None, 0, None, saved)
                self._tell(writing, None, ended)
            return
        key = (job.mind.fingerprint, job.dials)
        if key not in self._groups:
            self._groups[key] = _Group(reading.driver.flock())
        for writing in writings:
            self._groups[key].flock.add(reading.place)
            self._groups[key].writings.append(writing)

    def _step(self, key: tuple[str, Dials]) -> None:
        """One more token for every text of a group."""
        group = self._groups[key]
        began = time.monotonic()
        wanted = any(writing.ticket.job.measure for writing in group.writings)
        measure = wanted or self._turns % MEASURED == 0
        try:
            step = group.flock.step([w.latest for w in group.writings], measure=measure)
            logits = wide(step.logits)
        except (RuntimeError, UserError) as error:
            for writing in group.writings:
                self._break(writing.ticket, error)
            del self._groups[key]
            return
        gone = []
        for place in range(len(group.writings)):
            physics = step.physics[place] if step.physics else None
            if physics is not None:
                self._observer.on_physics(physics, key[1])
                self.latest = physics
            if self._write(group, place, logits[place], physics):
                gone.append(place)
        self._observer.on_step(len(group.writings), step.steps, time.monotonic() - began)
        self._drop(key, gone)

    def _write(
        self, group: _Group, place: int, logits: torch.Tensor, physics: Physics | None
    ) -> bool:
        """Draw and write one token of one text; whether that was its last."""
        writing = group.writings[place]
        try:
            token = writing.draw(logits)
        except RuntimeError as error:  # the model's numbers are not finite
            self._break(writing.ticket, error)
            return True
        now = time.monotonic()
        first = writing.written == 0
        since = writing.ticket.submitted if first else writing.told_at
        self._observer.on_token(first, now - since)
        writing.told_at = now
        logprobs = logits.log_softmax(dim=0) if writing.wants_logprobs else None
        piece, ended = writing.write(token, logprobs, physics)
        if ended is None:
            self._tell(writing, piece, None)
            return False
        self._finish(group, place, piece, ended)
        return True

    def _finish(self, group: _Group, place: int, piece: Event | None, ended: Ended) -> None:
        """Tell the end of a text, with its state if that was asked for."""
        writing = group.writings[place]
        if writing.ticket.job.save:
            saved = writing.saved(group.flock.place(place))
            ended = replace(ended, saved=saved)
        self._tell(writing, piece, ended)

    def _tell(self, writing: Writing, piece: Event | None, ended: Ended | None) -> None:
        if piece is not None:
            self._outbox.append((writing.ticket, piece))
        if ended is not None:
            self._outbox.append((writing.ticket, ended))
            took = time.monotonic() - writing.ticket.submitted
            self._observer.on_end(ended.reason, ended.written, took)

    def _drop(self, key: tuple[str, Dials], places: Sequence[int]) -> None:
        """Go on without the texts at these places."""
        if not places:
            return
        group = self._groups[key]
        kept = [place for place in range(len(group.writings)) if place not in set(places)]
        if not kept:
            del self._groups[key]
            return
        group.flock.keep(kept)
        group.writings = [group.writings[place] for place in kept]

    def _break(self, ticket: Ticket, error: Exception) -> None:
        """Something of ours failed for this job; the others go on."""
        log.error("a job failed", exc_info=error)
        now = time.monotonic()
        self._observer.on_end("error", 0, now - ticket.submitted)
        sentence = "The model could not go on with this text; the server's log says why."
        self._outbox.append((ticket, Failed("broken", sentence)))

    def _hand_out(self) -> None:
        """Deliver what has happened, once for every receiver."""
        outbox, self._outbox = self._outbox, []
        receivers: dict[Deliver, list[tuple[Ticket, Event]]] = {}
        for ticket, event in outbox:
            if not ticket.cancelled:
                receivers.setdefault(ticket.deliver, []).append((ticket, event))
        for deliver, events in receivers.items():
            deliver(events)

    def _fail_all(self) -> None:
        """The thread ends: whoever still waits is told."""
        with self._wake:
            self._closing = True
            tickets = list(self._queue)
            self._queue = FairQueue()
        tickets += [reading.ticket for reading in self._readings]
        tickets += [w.ticket for group in self._groups.values() for w in group.writings]
        self._readings.clear()
        self._groups.clear()
        failed = Failed("closed", "The server is going away. Try again in a moment.")
        unique: dict[int, Ticket] = {id(ticket): ticket for ticket in tickets}
        self._outbox += [(ticket, failed) for ticket in unique.values()]
        self._hand_out()


def _over(ticket: Ticket, now: float) -> bool:
    return ticket.cancelled or now >= ticket.deadline
