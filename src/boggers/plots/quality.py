"""A contest in one picture: bits per byte against tokens, operations and seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from boggers.plots.canvas import COLOURS, canvas, save

Curve = Sequence[tuple[float, float, float, float]]
"""Measurements of one training: tokens, operations, seconds, bits per byte."""

STYLES = ("-", "--", ":")


def draw_quality(curves: Mapping[str, Sequence[Curve]], target: Path) -> list[Path]:
    """Every training of every contestant, all its seeds in one colour.

    Args:
        curves: by contestant, one curve a seed.
        target: where the picture goes, without suffix.
    """
    with canvas(3, height=3.9) as (figure, panels):
        for number, (name, trainings) in enumerate(curves.items()):
            look = {
                "color": COLOURS[number % len(COLOURS)],
                "linestyle": STYLES[number // len(COLOURS) % len(STYLES)],
            }
            for seed, curve in enumerate(trainings):
                label = name if seed == 0 else None
                for column, panel in enumerate(panels):
                    across = [point[column] for point in curve]
                    panel.plot(across, [p[3] for p in curve], label=label, marker=".", **look)
                    label = None
        for panel, title, unit in zip(
            panels,
            ("By tokens", "By operations", "By time"),
            ("tokens of training", "operations of training", "seconds of training"),
            strict=True,
        ):
            panel.set(title=title, xlabel=unit, ylabel="held-out bits per byte", xscale="log")
        figure.legend(loc="outside lower center", ncols=min(5, max(1, len(curves))))
        return save(figure, target)
