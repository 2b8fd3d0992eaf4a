"""A sweep in one picture: every training, and differences with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boggers.plots.canvas import COLOURS, GRID, INK, canvas, save


@dataclass(frozen=True)
class Column:
    """One value of the option.

    Attributes:
        value: its name.
        bits: bits per byte, one a seed.
        difference: to the first value: mean, low, high; None for the first.
    """

    value: str
    bits: Sequence[float]
    difference: tuple[float, float, float] | None


def draw_sweep(option: str, columns: Sequence[Column], target: Path) -> list[Path]:
    """Left every training, a line a seed; right the differences to the first value.

    Args:
        option: its name.
        columns: its values, the one that others are compared with first.
        target: where the picture goes, without suffix.
    """
    with canvas(2, height=3.8) as (figure, (bits, apart)):
        places = range(len(columns))
        for seed in range(len(columns[0].bits)):
            colour = COLOURS[seed % len(COLOURS)]
            heights = [column.bits[seed] for column in columns]
            bits.plot(places, heights, color=colour, marker="o", linewidth=1.2)
        names = [column.value for column in columns]
        bits.set_xticks(list(places), names)
        bits.set(title="Every training, a line a seed", xlabel=option, ylabel="bits per byte")
        others = [column for column in columns if column.difference is not None]
        for place, column in enumerate(others):
            assert column.difference is not None
            mean, low, high = column.difference
            apart.plot(mean, place, "s", color=INK)
            if math.isfinite(low) and math.isfinite(high):
                apart.plot([low, high], [place, place], color=INK)
        apart.axvline(0, color=GRID)
        apart.set_yticks(range(len(others)), [column.value for column in others])
        apart.set_ylim(len(others) - 0.5, -0.5)
        apart.set(
            title=f"Against {names[0]}, left is better",
            xlabel="difference (bits per byte), 95 %",
            ylabel=option,
        )
        return save(figure, target)
