"""Tells another program of events, without ever making this one wait for it."""

import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from urllib.parse import urlsplit

from boggers.errors import UserError

VARIABLE = "LLM_HOOK_URL"
STOP = None


@dataclass(frozen=True)
class Delivery:
    """What became of the events so far: `dropped` found the queue full, `failed` was given up."""

    sent: int = 0
    retried: int = 0
    failed: int = 0
    dropped: int = 0


class Webhook:
    """POSTs small JSON objects from a thread of its own.

    `tell` puts an event into a queue and returns at once; where the queue is full the event is
    dropped and counted. A POST that fails (no answer in time, no connection, status 429 or 5xx) is
    tried again after 0.5, 1, 2 … times `backoff` seconds; other answers of 4xx are final.

    Args:
        url: http or https.
        capacity: events that may wait, at least 1.
        timeout: seconds that an answer may take.
        attempts: how often an event is tried, at least 1.
        backoff: seconds before the second attempt, doubled for each further one.

    Raises:
        UserError: the URL is no http or https URL.
    """

    def __init__(
        self,
        url: str,
        *,
        capacity: int = 64,
        timeout: float = 2.0,
        attempts: int = 3,
        backoff: float = 0.5,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise UserError(f"A webhook needs an http or https URL; {url!r} came.")
        self.url = url
        self._timeout, self._attempts, self._backoff = timeout, attempts, backoff
        self._queue: queue.Queue[bytes | None] = queue.Queue(capacity)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._delivery = Delivery()
        self._thread = threading.Thread(target=self._work, name="boggers-webhook", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Webhook":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def host(self) -> str:
        """Where it sends to; the rest of a URL may be a secret and is shown to nobody."""
        return urlsplit(self.url).hostname or "?"

    @property
    def delivery(self) -> Delivery:
        """Counts so far."""
        with self._lock:
            return self._delivery

    def tell(self, event: Mapping[str, float | bool | str]) -> bool:
        """Send an event some time soon; False if the queue was full and it is lost."""
        try:
            self._queue.put_nowait(json.dumps(dict(event), allow_nan=False).encode())
        except queue.Full:
            self._count(dropped=1)
            return False
        return True

    def close(self, patience: float = 5.0) -> Delivery:
        """Send what waits for at most `patience` seconds, then end; what is left is dropped."""
        end = time.monotonic() + patience
        while not self._queue.empty() and time.monotonic() < end:
            time.sleep(0.01)
        self._closing.set()
        while True:
            try:
                if self._queue.get_nowait() is not STOP:
                    self._count(dropped=1)
            except queue.Empty:
                break
        self._queue.put(STOP)
        self._thread.join(max(0.1, end - time.monotonic()) + self._timeout)
        return self.delivery

    def _work(self) -> None:
        while (body := self._queue.get()) is not STOP:
            self._deliver(body)

    def _deliver(self, body: bytes) -> None:
        for attempt in range(self._attempts):
            answer = self._post(body)
            if answer == "sent":
                self._count(sent=1)
                return
            last = attempt + 1 == self._attempts
            if answer == "refused" or last or self._closing.is_set():
                break
            self._count(retried=1)
            self._closing.wait(self._backoff * 2**attempt)
        self._count(failed=1)

    def _post(self, body: bytes) -> str:
        """sent, refused (for good) or failed (may work later)."""
        headers = {"Content-Type": "application/json", "User-Agent": "boggers"}
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout):
                return "sent"
        except urllib.error.HTTPError as error:
            with error:
                return "failed" if error.code == 429 or error.code >= 500 else "refused"
        except (OSError, ValueError, urllib.error.URLError):
            return "failed"

    def _count(self, **more: int) -> None:
        with self._lock:
            now = self._delivery
            changed = {name: getattr(now, name) + value for name, value in more.items()}
            self._delivery = replace(now, **changed)


def webhook_from_environment() -> Webhook | None:
    """A sender to `LLM_HOOK_URL`; None where that is empty or not set."""
    url = os.environ.get(VARIABLE, "").strip()
    return Webhook(url) if url else None
