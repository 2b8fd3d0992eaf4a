"""What the engine tells whoever counts: see `metrics.py`, which is one."""

from typing import Protocol

from boggers.serve.dials import Dials
from boggers.serve.physics import Physics


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
