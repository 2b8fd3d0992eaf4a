"""What is done in a turn: read a little, write one more token of every text, tell what happened.

It knows neither threads nor locks: everything here belongs to the one thread that calls it.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from boggers.errors import UserError
from boggers.serve.dials import Dials
from boggers.serve.flock import Driver, driver_for
from boggers.serve.group import Group
from boggers.serve.mind import Mind
from boggers.serve.observer import Observer
from boggers.serve.physics import Physics
from boggers.serve.prefixes import PrefixCache
from boggers.serve.reading import Reading, wide
from boggers.serve.work import Deliver, Ended, Event, Failed, Ticket
from boggers.serve.writing import Writing

log = logging.getLogger(__name__)

PATIENCE = 0.03
"""Seconds of a turn that go into prompts while texts are being written."""

MEASURED = 8
"""Every so many turns the physics is measured even if no request asked for it."""

DRIVERS = 32
"""Combinations of model and dials whose drivers are kept at hand."""

Alike = tuple[str, Dials]
"""The fingerprint of a checkpoint and the dials; texts that have both in common step together."""


class Turns:
    """The prompts that are being read, the texts that are being written, and their next turn.

    Args:
        cache_bytes: memory for beginnings of prompts.
        observer: counts what happens.
    """

    def __init__(self, cache_bytes: int, observer: Observer) -> None:
        self.latest: Physics | None = None
        """How the position settled that was measured last."""
        self._observer = observer
        self._readings: deque[Reading] = deque()
        self._groups: dict[Alike, Group] = {}
        self._drivers: dict[Alike, Driver] = {}
        self._cache = PrefixCache(cache_bytes)
        self._outbox: list[tuple[Ticket, Event]] = []
        self._count = 0

    @property
    def busy(self) -> bool:
        """Whether there is anything to read or to write."""
        return bool(self._readings or self._groups)

    @property
    def running(self) -> int:
        """Texts that are being written."""
        return sum(len(group) for group in self._groups.values())

    @property
    def reading(self) -> int:
        """Prompts that are being read."""
        return len(self._readings)

    @property
    def texts(self) -> int:
        """Texts that are being written, and those that prompts are being read for."""
        return self.running + sum(reading.ticket.job.choices for reading in self._readings)

    @property
    def cache_bytes(self) -> int:
        """Memory that the beginnings of prompts take."""
        return self._cache.nbytes

    def forget(self, retired: set[str]) -> None:
        """Drop what belongs to checkpoints, by fingerprint, that are no longer served."""
        if retired:
            self._cache.clear()
        for key in [key for key in self._drivers if key[0] in retired]:
            del self._drivers[key]

    def sweep(self, over: Sequence[Ticket], now: float) -> None:
        """Let go of what nobody waits for, and of what has run out of time.

        Args:
            over: such jobs that have not been begun.
            now: on the monotonic clock.
        """
        over = list(over)
        for reading in [r for r in self._readings if r.ticket.over(now)]:
            over.append(reading.ticket)
            self._readings.remove(reading)
        for ticket in over:
            self._give_up(ticket, now)
        for key, group in list(self._groups.items()):
            late = {row: w for row, w in enumerate(group) if w.ticket.over(now)}
            for row, writing in late.items():
                if writing.ticket.cancelled:
                    self._observer.on_end("abort", writing.written, now - writing.ticket.submitted)
                else:
                    self._finish(group, row, writing, *writing.stop())
            self._drop(key, list(late))

    def _give_up(self, ticket: Ticket, now: float) -> None:
        """A job that wrote nothing: nobody waits for it, or its time is over."""
        reason = "abort" if ticket.cancelled else "timeout"
        self._observer.on_end(reason, 0, now - ticket.submitted)
        if not ticket.cancelled:
            sentence = (
                f"The request waited for {ticket.job.seconds:g} seconds and its turn did not "
                "come. Try again later."
            )
            self._outbox.append((ticket, Failed("timeout", sentence)))

    def begin(self, ticket: Ticket) -> None:
        """Begin with the prompt of a job."""
        try:
            driver = self._driver(ticket.job.mind, ticket.job.dials)
        except (RuntimeError, UserError) as error:
            self._break(ticket, error)
        else:
            self._readings.append(Reading(ticket, driver, self._cache))

    def _driver(self, mind: Mind, dials: Dials) -> Driver:
        key = (mind.fingerprint, dials)
        if key not in self._drivers:
            if len(self._drivers) >= DRIVERS:
                self._drivers.pop(next(iter(self._drivers)))
            self._drivers[key] = driver_for(mind.model, dials)
        return self._drivers[key]

    def go_on(self) -> None:
        """Get everybody a little further, and tell them."""
        self._count += 1
        self._read()
        for key in list(self._groups):
            self._step(key)
        self._hand_out()

    def end(self, waiting: Sequence[Ticket]) -> None:
        """There are no more turns: tell whoever still waits, those not begun included."""
        tickets = [*waiting, *(reading.ticket for reading in self._readings)]
        tickets += [writing.ticket for group in self._groups.values() for writing in group]
        self._readings.clear()
        self._groups.clear()
        failed = Failed("closed", "The server is going away. Try again in a moment.")
        unique = {id(ticket): ticket for ticket in tickets}
        self._outbox += [(ticket, failed) for ticket in unique.values()]
        self._hand_out()

    def _read(self) -> None:
        """Read prompts for a while, in turns; all there are if nothing else is to be done."""
        end = time.monotonic() + PATIENCE
        while self._readings:
            reading = self._readings[0]  # where `end` finds it, whatever happens
            try:
                if not reading.done:
                    reading.advance()
            except (RuntimeError, UserError) as error:
                self._break(reading.ticket, error)
                self._readings.popleft()
                continue
            if reading.done:
                self._write_after(reading)
                self._readings.popleft()
            else:
                self._readings.rotate(-1)
            if time.monotonic() >= end:
                return

    def _write_after(self, reading: Reading) -> None:
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
            self._groups[key] = Group(reading.driver.flock())
        for writing in writings:
            self._groups[key].add(writing, reading.place)

    def _step(self, key: Alike) -> None:
        """One more token for every text of a group."""
        group = self._groups[key]
        began = time.monotonic()
        try:
            step = group.step(measure=group.measured or self._count % MEASURED == 0)
            logits = wide(step.logits)
        except (RuntimeError, UserError) as error:
            for writing in group:
                self._break(writing.ticket, error)
            del self._groups[key]
            return
        gone = []
        for row, writing in enumerate(group):
            physics = step.physics[row] if step.physics else None
            if physics is not None:
                self._observer.on_physics(physics, key[1])
                self.latest = physics
            if self._write(group, row, writing, logits[row], physics):
                gone.append(row)
        self._observer.on_step(len(group), step.steps, time.monotonic() - began)
        self._drop(key, gone)

    def _write(
        self, group: Group, row: int, writing: Writing, logits: Tensor, physics: Physics | None
    ) -> bool:
        """Draw and write one token of one text; whether that was its last."""
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
        self._finish(group, row, writing, piece, ended)
        return True

    def _finish(
        self, group: Group, row: int, writing: Writing, piece: Event | None, ended: Ended
    ) -> None:
        """Tell the end of a text, with its state if that was asked for."""
        if writing.ticket.job.save:
            ended = replace(ended, saved=group.saved(row))
        self._tell(writing, piece, ended)

    def _tell(self, writing: Writing, piece: Event | None, ended: Ended | None) -> None:
        if piece is not None:
            self._outbox.append((writing.ticket, piece))
        if ended is not None:
            self._outbox.append((writing.ticket, ended))
            took = time.monotonic() - writing.ticket.submitted
            self._observer.on_end(ended.reason, ended.written, took)

    def _drop(self, key: Alike, rows: Sequence[int]) -> None:
        """Go on without these texts of a group, and without the group if they were all of it."""
        self._groups[key].drop(rows)
        if not self._groups[key]:
            del self._groups[key]

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
