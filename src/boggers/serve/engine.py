"""The engine: texts of many clients, written together while they come and go.

One thread holds the models and does everything in turns; see `turns.py` for what it does in one.
Any thread may submit and cancel: jobs wait in a queue, under a lock, until the thread takes them.
What a text says does not depend on the company in which it is written; see `flock.py`.
"""

import threading
import time
from collections.abc import Sequence

import torch

from boggers.serve.limits import MEGABYTE, Limits
from boggers.serve.observer import Observer
from boggers.serve.physics import Physics
from boggers.serve.queueing import FairQueue
from boggers.serve.turns import Turns
from boggers.serve.work import Deliver, Job, Ticket


class QueueFullError(Exception):
    """The queue is full."""


class EngineClosedError(Exception):
    """The engine takes no more jobs."""


class ServingEngine:
    """Writes texts for many clients at once.

    Args:
        limits: how many at once, how many may wait.
        observer: counts what happens.
    """

    def __init__(self, limits: Limits, observer: Observer) -> None:
        self.limits = limits
        self._observer = observer
        self._turns = Turns(int(limits.prefix_cache_mb * MEGABYTE), observer)
        # The rest is shared with those who ask: changed under this condition only.
        self._wake = threading.Condition()
        self._queue = FairQueue()
        self._taken = 0
        self._retired: set[str] = set()
        self._closing = False
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="boggers-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it does its turns."""
        return self._thread.is_alive() and not self._closing

    @property
    def broken(self) -> bool:
        """Whether a defect has ended it; closed, it is neither broken nor alive."""
        return self._broken

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    @property
    def latest(self) -> Physics | None:
        """How the position settled that was measured last."""
        return self._turns.latest

    def submit(self, jobs: Sequence[Job], deliver: Deliver) -> list[Ticket]:
        """Put jobs into the queue, all of them or none; from any thread.

        Raises:
            QueueFullError: there is no room for all of them.
            EngineClosedError: the engine is going away.
        """
        now = time.monotonic()
        tickets = [Ticket(job, deliver, now) for job in jobs]
        with self._wake:
            if self._closing or not self._thread.is_alive():
                raise EngineClosedError
            # What can begin at once does not wait.
            free = max(0, self.limits.max_batch - self._taken)
            if len(self._queue) + len(tickets) > self.limits.max_queue + free:
                raise QueueFullError
            for ticket in tickets:
                self._queue.put(ticket)
            self._wake.notify_all()
        return tickets

    def retire(self, fingerprint: str) -> None:
        """No new job will be of this checkpoint: let its memory go when its last text is done."""
        with self._wake:
            self._retired.add(fingerprint)
            self._wake.notify_all()

    def close(self) -> None:
        """End the thread; jobs that are not finished fail."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()

    def _run(self) -> None:
        """The thread: turns until it is closed."""
        try:
            with torch.no_grad():
                while self._wait():
                    self._turn()
        finally:
            # Also after a defect of ours: nobody must wait for a thread that is gone.
            self._end()

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when the engine is closed."""
        with self._wake:
            while not (self._closing or self._retired or self._queue or self._turns.busy):
                self._wake.wait()
            return not self._closing

    def _turn(self) -> None:
        """Take in what has been left for the thread, then get everybody a little further."""
        now = time.monotonic()
        with self._wake:
            retired, self._retired = self._retired, set()
            over = self._queue.drop_if(lambda ticket: ticket.over(now))
        self._turns.forget(retired)
        self._turns.sweep(over, now)
        while self._begin():
            pass
        self._turns.go_on()
        with self._wake:
            self._taken = self._turns.texts
        self._observer.on_sizes(
            self._turns.running, self._turns.reading, self.waiting, self._turns.cache_bytes
        )

    def _begin(self) -> bool:
        """Begin with the job whose turn it is; whether there is one, and room for its choices."""
        texts = self._turns.texts
        with self._wake:
            ticket = self._queue.peek()
        if ticket is None or texts + ticket.job.choices > self.limits.max_batch:
            return False
        self._turns.begin(ticket)
        with self._wake:
            # Not before: a job that is nowhere would not be told if the thread ended here.
            self._queue.take()
            self._taken = texts + ticket.job.choices
        return True

    def _end(self) -> None:
        """The thread ends: whoever still waits is told."""
        with self._wake:
            self._broken = not self._closing
            self._closing = True
            waiting = self._queue.drop_if(lambda _: True)
        self._turns.end(waiting)
