"""One look for every picture, and files that appear whole."""

import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.files import write_bytes

INK, GRID = "#22303c", "#e3e7ea"
DPI = 150
"""Dots an inch of a PNG."""

COLOURS = ("#2563a8", "#d1603d", "#3c8d5a", "#8b5fb0", "#b08a2e")
STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": GRID,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "boggers",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}


@contextmanager
def canvas(
    columns: int, rows: int = 1, *, width: float = 9.0, height: float = 3.2
) -> Iterator[tuple[Any, list[Any]]]:
    """A figure and its axes, row by row; what is drawn inside the block has the common look.

    Args:
        columns, rows: how the axes are arranged.
        width, height: of the whole figure, in inches.

    Raises:
        UserError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("Pictures need matplotlib. Install it with: pip install 'boggers[plots]'")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure: Any = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.04)
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def save(figure: Any, path: Path) -> list[Path]:
    """Write a figure as PNG and SVG beside each other; every axis of it must have a name."""
    import matplotlib

    for axes in figure.axes:
        named = axes.get_ylabel() and (axes.get_xlabel() or axes.get_label() == "<colorbar>")
        assert named or not axes.axison, f"{axes.get_title(loc='left')} has an axis without a name"
    written = []
    with matplotlib.rc_context(STYLE):
        # Once for both files: finding room for every word takes longer than drawing it.
        figure.set_dpi(DPI)
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine(None)
    for suffix, options in ((".png", {"dpi": DPI}), (".svg", {"metadata": {"Date": None}})):
        buffer = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(buffer, format=suffix[1:], **options)
        write_bytes(path.with_suffix(suffix), buffer.getvalue())
        written.append(path.with_suffix(suffix))
    return written
