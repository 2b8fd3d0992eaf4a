"""Means over the steps between two metrics rows, kept on the device until a row is due."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Measured:
    """What `Averages` held when it was read."""

    means: dict[str, float]
    """Mean of each measurement over the steps that were not skipped; empty if there were none."""

    skipped: int
    """Skipped steps of the whole run."""

    skipped_in_a_row: int
    """How many of these were the last steps."""

    longest_row: int
    """Most steps ever skipped in a row."""


class Averages:
    """Adds up measurements of steps without waiting for the device.

    Args:
        device: where the measurements are.
        sums: what `sums` gave when the run was saved.
        skipped: skipped steps so far.
        skipped_in_a_row: how many of these were the last ones.
    """

    def __init__(
        self,
        device: torch.device,
        sums: dict[str, float],
        skipped: int = 0,
        skipped_in_a_row: int = 0,
    ) -> None:
        self._device = device
        self._names = tuple(sums)
        self._sums = torch.tensor(list(sums.values()), dtype=torch.float32, device=device)
        # skipped in all, in a row up to now, longest such row
        self._counts = torch.tensor(
            [skipped, skipped_in_a_row, skipped_in_a_row], dtype=torch.float32, device=device
        )

    def add(self, values: dict[str, Tensor], skipped: Tensor) -> None:
        """Add one step's scalars; those of a skipped step (1, else 0) are left out."""
        names = ("steps", *values)
        if names != self._names:
            self._names = names
            self._sums = torch.zeros(len(names), device=self._device)
        row = torch.stack(
            [torch.ones_like(skipped), *(v.detach().float() for v in values.values())]
        )
        self._sums += torch.where(skipped > 0, torch.zeros_like(row), row)
        total, run, longest = self._counts.unbind()
        run = (run + skipped) * skipped
        self._counts = torch.stack([total + skipped, run, torch.maximum(longest, run)])

    def read(self) -> Measured:
        """The means so far; waits for the device."""
        sums = self.sums()
        steps = sums.pop("steps", 0.0)
        means = {name: value / steps for name, value in sums.items()} if steps else {}
        return Measured(means, *(int(count) for count in self._counts.tolist()))

    def restart(self) -> None:
        """Begin the next row: forget the sums, keep the counts."""
        self._sums = torch.zeros_like(self._sums)

    def sums(self) -> dict[str, float]:
        """The sums as they stand, exactly; given back to the constructor they continue."""
        return dict(zip(self._names, self._sums.tolist(), strict=True))
