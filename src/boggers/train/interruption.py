"""Ending a run politely when it is asked to stop."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal came in the midst of something that can be given up; no error to be handled."""


class Interruption:
    """While entered, the first SIGINT or SIGTERM only sets `requested`; a second acts as usual.

    What `attempt` does is given up at that first signal. Outside the main thread, where Python
    delivers no signals, nothing of this happens.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}
        self._gives_up = False

    @property
    def requested(self) -> bool:
        """Whether a signal has come; `number` is which."""
        return self.number is not None

    def attempt(self, work: Callable[[], T]) -> T | None:
        """Do something long whose loss costs nothing but time.

        It must leave nothing half done and, among several processes, wait for no other.

        Returns:
            What came of it; None where a signal ended it or had come before.
        """
        if self.requested:
            return None
        self._gives_up = True
        try:
            return work()
        except Stopped:
            return None
        finally:
            self._gives_up = False

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._request) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_back()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._give_back()
        if self._gives_up:
            raise Stopped

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
