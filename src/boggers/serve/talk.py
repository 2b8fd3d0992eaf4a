"""From the engine's thread to the event loop: one request's jobs and what comes of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType

from starlette.requests import Request

from boggers.serve.engine import EngineClosedError, QueueFullError, ServingEngine
from boggers.serve.errors import ApiError, ClientGoneError, closing, overloaded
from boggers.serve.work import Ended, Event, Failed, Job, Ticket


class Bridge:
    """Carries events into the loop, all of a turn at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._boxes: dict[Ticket, asyncio.Queue[tuple[Ticket, Event]]] = {}

    def __call__(self, events: Sequence[tuple[Ticket, Event]]) -> None:
        """Called in the engine's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._sort, events)

    def open(self, tickets: Sequence[Ticket]) -> "asyncio.Queue[tuple[Ticket, Event]]":
        """Where the events of these tickets arrive."""
        box: asyncio.Queue[tuple[Ticket, Event]] = asyncio.Queue()
        for ticket in tickets:
            self._boxes[ticket] = box
        return box

    def close(self, tickets: Sequence[Ticket]) -> None:
        """Nobody reads the events of these any more."""
        for ticket in tickets:
            self._boxes.pop(ticket, None)

    def _sort(self, events: Sequence[tuple[Ticket, Event]]) -> None:
        for ticket, event in events:
            box = self._boxes.get(ticket)
            if box is not None:
                box.put_nowait((ticket, event))


class Talk:
    """The jobs of one request, from submission to the last event.

    Leaving it cancels what is not finished.
    """

    def __init__(self, engine: ServingEngine, bridge: Bridge, jobs: Sequence[Job]) -> None:
        try:
            self.tickets = engine.submit(jobs, bridge)
        except QueueFullError as error:
            raise overloaded() from error
        except EngineClosedError as error:
            raise closing() from error
        # Nothing can have arrived yet: events come through this loop, which is busy here.
        self._box = bridge.open(self.tickets)
        self._bridge = bridge
        self._number = {ticket: number for number, ticket in enumerate(self.tickets)}
        self._left = sum(job.choices for job in jobs)

    async def __aenter__(self) -> "Talk":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is not finished."""
        self._bridge.close(self.tickets)
        for ticket in self.tickets:
            ticket.cancel()

    async def batches(self) -> AsyncIterator[list[tuple[int, Event]]]:
        """What has happened since the last time, with the number of the job; until all is done.

        Raises:
            ApiError: a job failed.
        """
        while self._left:
            came = [await self._box.get()]
            while not self._box.empty():
                came.append(self._box.get_nowait())
            for _, event in came:
                if isinstance(event, Failed):
                    raise failure(event)
                self._left -= isinstance(event, Ended)
            yield [(self._number[ticket], event) for ticket, event in came]


def failure(event: Failed) -> ApiError:
    """The error of a job that failed."""
    if event.kind == "closed":
        return closing()
    if event.kind == "timeout":
        return ApiError(503, event.sentence, "timeout", retry_after=1)
    return ApiError(500, event.sentence, "model_failed")


async def whole(request: Request, talk: Talk) -> list[tuple[int, Event]]:
    """All events of a talk, or an end to it as soon as the client goes away.

    Raises:
        ClientGoneError: the client went away.
        ApiError: a job failed.
    """

    async def collect() -> list[tuple[int, Event]]:
        return [event async for batch in talk.batches() for event in batch]

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    collecting, leaving = asyncio.create_task(collect()), asyncio.create_task(leave())
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not collecting.done():
            raise ClientGoneError
        return collecting.result()
    finally:
        for task in (collecting, leaving):
            task.cancel()
