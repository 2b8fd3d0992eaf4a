"""The states around the latest break, kept in the run's folder."""

from pathlib import Path

from safetensors.torch import save

from boggers.dynamics.record import Kick
from boggers.files import write_bytes
from boggers.train.observers import BatchEvent, EpochEvent, EvalEvent, FitResult, StepEvent

BREAKS = "breaks.safetensors"


class BreakMemory:
    """Keeps the states before and after the latest break in the run's folder."""

    watches = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / BREAKS
        self.kick: Kick | None = None

    def on_batch(self, event: BatchEvent) -> None:
        """Remember the batch's last step that broke anything."""
        found = event.loss.relaxation
        for kick in reversed((found.kicks or ()) if found is not None else ()):
            if bool((kick.before != kick.after).any()):
                self.kick = kick
                return

    def on_step(self, event: StepEvent) -> None:
        """Nothing to do: the batch has been seen."""

    def on_eval(self, event: EvalEvent) -> None:
        """Nothing breaks that is learned from."""

    def on_epoch(self, event: EpochEvent) -> None:
        """Write the latest break."""
        self._write()

    def on_end(self, result: FitResult) -> None:
        """Write the latest break."""
        self._write()

    def _write(self) -> None:
        if self.kick is not None:
            parts = {"before": self.kick.before, "after": self.kick.after}
            write_bytes(self.path, save({name: v.contiguous() for name, v in parts.items()}))
