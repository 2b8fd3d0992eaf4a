"""One self-contained page that one can move about in: no file beside it, nothing from outside."""

import html
import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.files import write_text
from boggers.plots.canvas import COLOURS, GRID, INK
from boggers.plots.inside import by_group, colour_of
from boggers.plots.scene import Scene, visible

STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.15rem; margin-top: 2.2rem; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .15rem .8rem; text-align: right;
  border-bottom: 1px solid {GRID}; }} td:first-child, th:first-child {{ text-align: left; }}
pre {{ background: #f6f8f9; padding: .8rem; overflow-x: auto; }}
.words {{ font-family: ui-monospace, monospace; line-height: 1.9; }}
.words span {{ padding: .15rem 0; }}
.leak {{ color: #b00020; font-weight: bold; }}
"""

HEIGHT = 380


class Page:
    """A page that grows from top to bottom; everything put into it is escaped.

    Args:
        title: its heading.

    Raises:
        UserError: plotly is not installed.
    """

    def __init__(self, title: str) -> None:
        if importlib.util.find_spec("plotly") is None:
            raise UserError(
                "An interactive page needs plotly. Install it with: pip install 'boggers[plots]'"
            )
        self.title = title
        self.parts = [f"<h1>{html.escape(title)}</h1>"]
        self.figures = 0

    def heading(self, text: str) -> None:
        """A section begins."""
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str, *, alarming: bool = False) -> None:
        """A paragraph."""
        kind = ' class="leak"' if alarming else ""
        self.parts.append(f"<p{kind}>{html.escape(text)}</p>")

    def plain(self, text: str) -> None:
        """Text in which every blank counts."""
        self.parts.append(f"<pre>{html.escape(text)}</pre>")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """A table, its first row the names."""
        first, *others = rows
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in first)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in others
        )
        self.parts.append(f"<table><tr>{head}</tr>{body}</table>")

    def figure(
        self, traces: Sequence[Any], *, title: str, across: str, up: str, **layout: Any
    ) -> None:
        """A picture of plotly traces; both axes have names.

        Args:
            traces: of plotly.graph_objects.
            title: what it shows. across, up: the quantities on the axes, with their units.
            layout: further settings of plotly's layout.
        """
        import plotly.graph_objects as go

        picture = go.Figure(traces)
        picture.update_layout(
            title=title,
            template="plotly_white",
            colorway=list(COLOURS),
            font={"color": INK},
            height=HEIGHT,
            margin={"l": 70, "r": 30, "t": 50, "b": 60},
            xaxis_title=across,
            yaxis_title=up,
        )
        picture.update_layout(**layout)
        # The library stands in the page once, before the first picture.
        library: bool = self.figures == 0
        name = f"figure-{self.figures}"
        self.parts.append(picture.to_html(full_html=False, include_plotlyjs=library, div_id=name))
        self.figures += 1

    def curves(
        self,
        curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
        *,
        title: str,
        across: str,
        up: str,
    ) -> None:
        """Lines by name, each of places across and up."""
        import plotly.graph_objects as go

        traces = [
            go.Scatter(x=list(xs), y=list(ys), mode="lines+markers", name=name)
            for name, (xs, ys) in curves.items()
        ]
        self.figure(traces, title=title, across=across, up=up)

    def words(self, words: Sequence[tuple[str, float, str]], colour: str) -> None:
        """Text whose tokens stand on grounds from 0 (white) to 1 (full colour), with notes."""
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        spans = "".join(
            f'<span style="background: rgba({red},{green},{blue},{min(1, max(0, share)):.3f})" '
            f'title="{html.escape(note, quote=True)}">{html.escape(visible(text))}</span>'
            + ("<br>" if "\n" in text else "")
            for text, share, note in words
        )
        self.parts.append(f'<p class="words">{spans}</p>')

    def write(self, path: Path) -> None:
        """Save the page."""
        write_text(
            path,
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{html.escape(self.title)}</title><style>{STYLE}</style></head>\n<body>\n"
            + "\n".join(self.parts)
            + "\n</body></html>\n",
        )


def add_columns(
    page: Page, title: str, columns: Mapping[str, Sequence[float]], steps: Sequence[float]
) -> None:
    """Every column of a table in one picture; a menu chooses which is seen."""
    import plotly.graph_objects as go

    from boggers.plots.columns import unit_of

    names = list(columns)
    if not names:
        return
    traces = []
    for number, name in enumerate(names):
        pairs = [
            (x, y)
            for x, y in zip(steps, columns[name], strict=True)
            if math.isfinite(x) and math.isfinite(y)
        ]
        xs, ys = zip(*pairs, strict=True) if pairs else ((), ())
        traces.append(go.Scatter(x=xs, y=ys, mode="lines+markers", name=name, visible=number == 0))
    buttons = [
        {
            "label": name,
            "method": "update",
            "args": [
                {"visible": [other == name for other in names]},
                {"yaxis": {"title": {"text": f"{name} ({unit_of(name)})"}}},
            ],
        }
        for name in names
    ]
    page.figure(
        traces,
        title=title,
        across="optimiser steps",
        up=f"{names[0]} ({unit_of(names[0])})",
        updatemenus=[{"buttons": buttons, "x": 1.0, "xanchor": "right", "y": 1.18}],
        showlegend=False,
    )


def add_scene(page: Page, scene: Scene) -> None:
    """The inside of a run: states, paths, energy, text and timescales."""
    import plotly.graph_objects as go

    first = f"first main direction ({100 * scene.shares[0]:.0f} % of the spread)"
    second = f"second ({100 * scene.shares[1]:.0f} %)"
    dots = []
    for name, rows in by_group(scene).items():
        points = scene.dots[rows]
        dots.append(
            go.Scatter(
                x=points[:, 0].tolist(),
                y=points[:, 1].tolist(),
                mode="markers",
                name=name,
                marker={"color": colour_of(scene, name), "size": 7},
            )
        )
    page.heading("States")
    page.figure(dots, title="Where states end, by the token that followed", across=first, up=second)
    paths = [
        go.Scatter(
            x=path[:, 0].tolist(),
            y=path[:, 1].tolist(),
            mode="lines+markers",
            name=f"place {number + 1}",
            hovertext=[f"step {step}" for step in range(len(path))],
        )
        for number, path in enumerate(scene.paths)
    ]
    page.figure(paths, title="How states come there", across=first, up=second)
    plane = scene.plane
    page.figure(
        [
            go.Contour(
                x=plane.across.tolist(),
                y=plane.up.tolist(),
                z=plane.energy.tolist(),
                colorscale="Viridis",
                colorbar={"title": {"text": "energy above the end's"}},
            ),
            go.Scatter(
                x=plane.path[:, 0].tolist(),
                y=plane.path[:, 1].tolist(),
                mode="lines+markers",
                name="the way",
                line={"color": "white"},
            ),
        ],
        title="A slice of the energy at the last place",
        across="along the last move (lengths of the state)",
        up="across it (lengths of the state)",
        showlegend=False,
    )
    _add_text(page, scene)
    if scene.losses:
        page.heading("Timescales")
        page.figure(
            [
                go.Bar(
                    x=[loss.bits_per_byte for loss in scene.losses],
                    y=[loss.band for loss in scene.losses],
                    orientation="h",
                )
            ],
            title="What the text costs without a timescale",
            across="lost (bits per byte)",
            up="silenced (tokens)",
        )


def _add_text(page: Page, scene: Scene) -> None:
    page.heading("Text")
    for name, colour in (
        ("surprise", COLOURS[1]),
        ("energy", COLOURS[0]),
        ("residual", COLOURS[2]),
    ):
        values = [float(getattr(word, name)) for word in scene.words]
        low, high = (0.0 if name == "surprise" else min(values)), max(values)
        unit = "nats" if name == "surprise" else "dimensionless"
        page.text(f"By {name} ({unit}): white {low:.3g}, full colour {high:.3g}.")
        page.words(
            [
                (
                    word.text,
                    (value - low) / max(1e-12, high - low),
                    f"surprise {word.surprise:.2f} nats, energy {word.energy:.3g}, "
                    f"residual {word.residual:.3g}",
                )
                for word, value in zip(scene.words, values, strict=True)
            ],
            colour,
        )
