"""Wall-clock time of a run, and its speed while it actually trains."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Counts seconds over resumed parts of a run, and tokens per second between laps.

    Args:
        seconds: time spent in earlier parts.
        tokens: tokens predicted in earlier parts.
    """

    def __init__(self, seconds: float, tokens: int) -> None:
        now = time.monotonic()
        self._started = now - seconds
        self._lap_started = now
        self._lap_tokens = tokens
        self.tokens_per_second = 0.0

    @property
    def seconds(self) -> float:
        """All time so far."""
        return time.monotonic() - self._started

    def lap(self, tokens: int) -> None:
        """End a stretch of training at `tokens` in all, and take its speed."""
        now = time.monotonic()
        elapsed = now - self._lap_started
        if elapsed > 0.0:
            self.tokens_per_second = (tokens - self._lap_tokens) / elapsed
        self._lap_started = now
        self._lap_tokens = tokens

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent in here counts as time, but not against the speed."""
        before = time.monotonic()
        try:
            yield
        finally:
            self._lap_started += time.monotonic() - before

    def seconds_for(self, tokens: int) -> float | None:
        """How long `tokens` more will take at the present speed; None while it is unknown."""
        return tokens / self.tokens_per_second if self.tokens_per_second > 0.0 else None
