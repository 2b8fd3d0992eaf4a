"""`boggers plot`: how a run learned, how its states settle and what is in them, as pictures."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from boggers.cli.page import write_pictures
from boggers.cli.parse import parse
from boggers.errors import UserError
from boggers.evals.report import held_out_text
from boggers.infer.engine import Engine
from boggers.model.token import TokenModel
from boggers.model.window import WindowModel
from boggers.plots.columns import draw_columns
from boggers.plots.curves import draw_training
from boggers.plots.inside import draw_inside
from boggers.plots.scene import Scene, scene, settles
from boggers.plots.settling import draw_settling
from boggers.plots.stream import draw_stream
from boggers.plots.token import draw_token
from boggers.train.run import Run

PROMPTS = ("The people of the", "In the beginning there was", "We have seen that")
"""What settles in the pictures when the run has no samples to take prompts from."""

PAGE = "index.html"

DESCRIPTION = """Draw a run into its folder plots, as PNG and SVG and as one interactive page.

Training curves; every numeric column of every CSV of the run; how states settle; where they end
and how they come there; a slice of the energy; the held-out text coloured by surprise; bits lost
per timescale; index.html with all of it, to be opened in any browser."""


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """What `boggers plot` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    prompt: tuple[str, ...] = ()
    """Texts whose settling is drawn, at most five (a stream: the first); the beginnings of the
    run's samples if none."""

    quick: bool = False
    """Leave out the inside and the page: training curves, columns and settling only."""


def run(argv: list[str]) -> None:
    """Draw, and say where the pictures lie."""
    options = parse(PlotOptions, argv, verb="plot", description=DESCRIPTION)
    console = Console(stderr=True, highlight=False)
    with console.status("drawing"):
        drawn = draw_run(options.run, options.prompt, inside=not options.quick, said=console.print)
    for path in drawn:
        print(path)


def draw_run(
    folder: Path,
    prompts: Sequence[str] = (),
    *,
    inside: bool = True,
    said: Callable[[str], None] | None = None,
) -> list[Path]:
    """Draw every picture of a run into its folder `plots`; returns where they lie.

    Args:
        folder: the run.
        prompts: what settles; by default the beginnings of its samples.
        inside: look into it as well, for which its text must be at hand, and make the page.
        said: hears why a picture is missing.

    Raises:
        UserError: there is no such run, or matplotlib is not installed.
    """
    engine = Engine.load(folder)
    plots = folder / "plots"
    drawn = draw_training(Run(folder).metrics, plots / "training")
    for table in sorted(folder.glob("*.csv")):
        drawn += draw_columns(table, plots / f"columns-{table.stem}")
    if settles(engine):
        chosen = prompts or _beginnings(folder, engine) or PROMPTS
        target = plots / "settling"
        if isinstance(engine.model, WindowModel):
            drawn += draw_settling(engine, chosen, target)
        elif isinstance(engine.model, TokenModel):
            drawn += draw_token(engine, chosen[0], target)
        else:
            drawn += draw_stream(engine, chosen[0], target)
    if not inside:
        return drawn
    seen = _scene(folder, engine, said or (lambda text: None))
    if seen is not None:
        drawn += draw_inside(seen, plots)
    if importlib.util.find_spec("plotly") is None:
        if said is not None:
            said("No page: plotly is missing. Install it with: pip install 'boggers[plots]'")
        return drawn
    write_pictures(folder, seen, plots / PAGE)
    return [*drawn, plots / PAGE]


def _scene(folder: Path, engine: Engine, said: Callable[[str], None]) -> Scene | None:
    """The inside of a run at its held-out text; None, and a sentence why, where it has none."""
    try:
        text = held_out_text(Run(folder), engine)
        return scene(engine, text.ids, text.byte_lengths, text.start, text.stop)
    except UserError as reason:
        said(f"The inside is not drawn: {reason}")
        return None


def _beginnings(folder: Path, engine: Engine) -> list[str]:
    """The first window of every sample, or a stream's whole samples."""
    files = sorted((folder / "samples").glob("*.txt"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    if not isinstance(engine.model, WindowModel):
        return texts
    window = engine.model.config.window_size
    return [engine.tokenizer.decode(engine.tokenizer.encode(text)[:window]) for text in texts]
