"""Who is next: clients take turns, and each client's own jobs come in order."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from boggers.serve.work import Ticket


class FairQueue:
    """Tickets that wait; a client with many does not keep out one with few."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, ticket: Ticket) -> None:
        """To the end of its client's line."""
        self._lines.setdefault(ticket.job.client, deque()).append(ticket)
        self._count += 1

    def peek(self) -> Ticket | None:
        """Whose turn it is; None if nobody waits."""
        for line in self._lines.values():
            return line[0]
        return None

    def take(self) -> Ticket:
        """The ticket whose turn it is; its client goes to the end of the round."""
        client, line = next(iter(self._lines.items()))
        ticket = line.popleft()
        self._count -= 1
        del self._lines[client]
        if line:
            self._lines[client] = line
        return ticket

    def drop_if(self, unwanted: Callable[[Ticket], bool]) -> list[Ticket]:
        """Remove such tickets; which they were."""
        gone: list[Ticket] = []
        for client, line in list(self._lines.items()):
            kept: deque[Ticket] = deque()
            for ticket in line:
                (gone if unwanted(ticket) else kept).append(ticket)
            if kept:
                self._lines[client] = kept
            else:
                del self._lines[client]
        self._count -= len(gone)
        return gone

    def __iter__(self) -> Iterator[Ticket]:
        return (ticket for line in self._lines.values() for ticket in line)
