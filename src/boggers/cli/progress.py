"""How a person watches training: a bar on a terminal, sparse plain lines anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from boggers.train.observers import EpochEvent, EvalEvent, FitResult, StepEvent

SECONDS_BETWEEN_LINES = 15.0


class TrainingProgress:
    """Observes a run: loss, tokens per second and time left.

    Args:
        console: where to write; if it is no terminal, a line appears now and then.
        step: where the run stands at the start.
    """

    def __init__(self, console: Console, step: int = 0) -> None:
        self._console = console
        self._loss: float | None = None
        self._told_at = 0.0
        self._measuring_since = self._measured_at = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, completed=step)

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def on_step(self, event: StepEvent) -> None:
        """Move the bar, or write a line if the last one is long ago."""
        if event.row is not None and event.row.train_ce is not None:
            self._loss = event.row.train_ce
        if self._console.is_terminal:
            self._bar.update(
                self._task,
                completed=event.step,
                total=event.total_steps,
                description=self._described(event),
            )
        elif event.row is not None and event.seconds - self._told_at >= SECONDS_BETWEEN_LINES:
            self._told_at = event.seconds
            self._console.print(
                f"step {event.step}/{event.total_steps} · {self._described(event)}",
                highlight=False,
            )

    def measuring(self, done: int, total: int) -> None:
        """Tell how far a measurement of the held-out text is, in tokens; 0 where it begins."""
        now = time.monotonic()
        if done == 0:
            self._measuring_since = self._measured_at = now
        if self._console.is_terminal:
            self._bar.update(self._task, description=self._share(done, total, now))
        elif done < total and now - self._measured_at >= SECONDS_BETWEEN_LINES:
            self._measured_at = now
            self._console.print(self._share(done, total, now), highlight=False)

    def on_eval(self, event: EvalEvent) -> None:
        """Tell what the held-out text says."""
        measured = event.validation
        which = f" (first {measured.tokens:,} tokens)" if measured.partial else ""
        best = " (best so far)" if event.is_best else ""
        settling = f", settling {measured.diagnosis}" if measured.diagnosis else ""
        self._console.print(
            f"step {event.step}: held-out{which} {measured.bits_per_byte:.3f} bits per byte, "
            f"{measured.ce:.3f} nats per token{best}{settling}",
            highlight=False,
        )

    def on_epoch(self, event: EpochEvent) -> None:
        """An epoch shows in the bar already."""

    def on_end(self, result: FitResult) -> None:
        """Tell how it ended."""
        how = "interrupted" if result.interrupted else "done"
        skipped = f", {result.skipped} steps skipped as not finite" if result.skipped else ""
        self._console.print(
            f"Training {how} at step {result.step}/{result.total_steps} after "
            f"{duration(result.seconds)}, {result.tokens:,} tokens{skipped}.",
            highlight=False,
        )
        for note in result.notes:
            self._console.print(note, markup=False)

    def _share(self, done: int, total: int, now: float) -> str:
        told = f"measuring {done:,} of {total:,} held-out tokens"
        if done == 0:
            return told
        return f"{told} · {duration((now - self._measuring_since) * (total / done - 1))} left"

    def _described(self, event: StepEvent) -> str:
        parts = [f"epoch {event.epoch}"]
        if self._loss is not None:
            parts.append(f"loss {self._loss:.3f} nats")
        if event.tokens_per_second > 0:
            parts.append(f"{event.tokens_per_second:,.0f} tokens/s")
        if event.seconds_left is not None:
            parts.append(f"{duration(event.seconds_left)} left")
        return " · ".join(parts)


@contextmanager
def measurement(console: Console) -> Iterator[Callable[[str, int | None, int | None], None]]:
    """A bar that says what of a measurement is being done, and hears it by what it yields.

    Args:
        console: where it is shown; nothing is where that is no terminal.
    """
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def told(what: str, done: int | None, total: int | None) -> None:
            bar.update(task, description=what, completed=done or 0, total=total)

        yield told


def duration(seconds: float) -> str:
    """A length of time as a person says it: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
