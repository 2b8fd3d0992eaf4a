"""One look for every picture, and files that appear whole."""

import importlib.util
import io
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.files import write_bytes

INK, GRID = "#22303c", "#e3e7ea"
COLOURS = ("#2563a8", "#d1603d", "#3c8d5a", "#8b5fb0", "#b08a2e")
STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": GRID,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "boggers",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def canvas(columns: int, *, width: float = 9.0, height: float = 3.2) -> tuple[Any, list[Any]]:
    """A figure with `columns` axes side by side; sizes in inches.

    Raises:
        UserError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("Pictures need matplotlib. Install it with: pip install 'boggers[plots]'")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def save(figure: Any, path: Path) -> list[Path]:
    """Write a figure as PNG and SVG beside each other."""
    import matplotlib

    written = []
    for suffix, options in ((".png", {"dpi": 150}), (".svg", {"metadata": {"Date": None}})):
        buffer = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(buffer, format=suffix[1:], **options)
        write_bytes(path.with_suffix(suffix), buffer.getvalue())
        written.append(path.with_suffix(suffix))
    return written
