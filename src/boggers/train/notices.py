"""What a run says while it trains, if asked: hard batches, and the lines of `--debug`."""

from collections.abc import Callable
from pathlib import Path

import torch

from boggers.train.observers import BatchEvent, EpochEvent, EvalEvent, FitResult, StepEvent
from boggers.train.prepare import Prepared
from boggers.train.tables import Table

Tell = Callable[[str], None]
"""Says one line to whoever watches."""

HARD_COLUMNS = ("global_step", "epoch", "batch_idx", "loss", "first_context")
SHOWN_IDS = 6


class HardBatches:
    """Says and keeps which batches had a loss of at least `threshold`.

    Args:
        folder: of the run; they are kept in its hard-batches.csv.
        threshold: of the whole objective.
        tell: says a line.
        resumed_at: the step that the run stands at; later rows are dropped.
    """

    watches = False

    def __init__(self, folder: Path, threshold: float, tell: Tell, resumed_at: int) -> None:
        self.threshold, self.tell = threshold, tell
        self.table = Table(folder / "hard-batches.csv", HARD_COLUMNS, resumed_at)

    def on_batch(self, event: BatchEvent) -> None:
        """Look at the loss; waits for the device."""
        loss = float(event.loss.total.detach())
        if loss < self.threshold:
            return
        ids = " ".join(map(str, event.batch.contexts[0, :SHOWN_IDS].tolist()))
        self.table.append(
            {
                "global_step": event.step,
                "epoch": event.epoch,
                "batch_idx": event.index,
                "loss": loss,
                "first_context": ids,
            }
        )
        self.tell(
            f"[hard batch] epoch {event.epoch} batch {event.index + 1}: loss {loss:.4f}, the first "
            f"context begins with {ids}"
        )


class Debug:
    """Says what was built, the first batch of every epoch, and the speed of each."""

    watches = False

    def __init__(self, prepared: Prepared, tell: Tell) -> None:
        self.prepared, self.tell = prepared, tell
        self.seconds, self.tokens = prepared.progress.seconds, prepared.progress.tokens
        self.latest: StepEvent | None = None
        for line in self._built():
            tell(f"[debug] {line}")

    def on_batch(self, event: BatchEvent) -> None:
        """Say how an epoch begins; waits for the device then."""
        if event.index:
            return
        finite = all(bool(torch.isfinite(part).all()) for part in event.loss.parts.values())
        logits = event.loss.logits
        if logits is None and event.loss.reading is not None:
            logits = event.loss.reading.logits
        if logits is not None:
            finite = finite and bool(torch.isfinite(logits).all())
        total = float(event.loss.total.detach())
        self.tell(
            f"[debug] epoch {event.epoch}, first batch: loss {total:.4f}, "
            f"gradient norm {float(event.grad_norm):.4g} before clipping, "
            f"learning rate {event.lr:.3g}, logits {'finite' if finite else 'NOT FINITE'}"
        )

    def on_step(self, event: StepEvent) -> None:
        """Remember how far the run is."""
        self.latest = event

    def on_eval(self, event: EvalEvent) -> None:
        """The progress bar says it."""

    def on_epoch(self, event: EpochEvent) -> None:
        """Say how fast the epoch went."""
        if self.latest is None:
            return
        tokens, seconds = self.latest.tokens - self.tokens, self.latest.seconds - self.seconds
        speed = f", {tokens / seconds:,.0f} tokens/s" if seconds > 0 else ""
        self.tell(
            f"[debug] epoch {event.epoch} done at step {event.step}: {tokens:,} tokens in "
            f"{seconds:.1f} s{speed}"
        )
        self.tokens, self.seconds = self.latest.tokens, self.latest.seconds

    def on_end(self, result: FitResult) -> None:
        """Say how it ended."""
        self.tell(
            f"[debug] ended at step {result.step} of {result.total_steps}: {result.skipped} "
            f"skipped, newest checkpoint {result.checkpoint}"
        )

    def _built(self) -> list[str]:
        prepared = self.prepared
        lines = [
            f"{name}: {tuple(parameter.shape)}"
            for name, parameter in prepared.model.named_parameters()
        ]
        counts = prepared.model.parameter_counts()
        lines.append(f"{counts.total:,} parameters in {len(lines)} tensors")
        groups = prepared.optimizer.param_groups
        decays = ", ".join(f"{len(g['params'])} at decay {g['weight_decay']}" for g in groups)
        lines.append(f"optimiser: {decays}")
        lines.append(
            f"{prepared.steps_per_epoch:,} steps per epoch, {prepared.total_steps:,} in all, "
            f"beginning at {prepared.progress.step:,}"
        )
        return lines
