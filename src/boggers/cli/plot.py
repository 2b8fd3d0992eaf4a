"""`boggers plot`: how a run learned, and how its states settle, as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from boggers.cli.parse import parse
from boggers.infer.engine import Engine
from boggers.model.token import TokenModel
from boggers.model.window import WindowModel
from boggers.plots.curves import draw_training
from boggers.plots.settling import draw_settling
from boggers.plots.stream import draw_stream
from boggers.plots.token import draw_token
from boggers.train.run import Run

PROMPTS = ("The people of the", "In the beginning there was", "We have seen that")
"""What settles in the pictures when the run has no samples to take prompts from."""


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """What `boggers plot` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    prompt: tuple[str, ...] = ()
    """Texts whose settling is drawn, at most five (a stream: the first); the beginnings of the
    run's samples if none."""


def run(argv: list[str]) -> None:
    """Draw, and say where the pictures lie."""
    options = parse(
        PlotOptions,
        argv,
        verb="plot",
        description="Draw how a run learned and how its states settle, into its folder plots.",
    )
    for path in draw_run(options.run, options.prompt):
        print(path)


def draw_run(folder: Path, prompts: Sequence[str] = ()) -> list[Path]:
    """Draw every picture of a run into its folder `plots`; returns where they lie.

    Args:
        folder: the run.
        prompts: what settles; by default the beginnings of its samples.

    Raises:
        UserError: there is no such run, or matplotlib is not installed.
    """
    engine = Engine.load(folder)
    drawn = draw_training(Run(folder).metrics, folder / "plots" / "training")
    if engine.model.config.num_dynamics_steps > 0:
        chosen = prompts or _beginnings(folder, engine) or PROMPTS
        target = folder / "plots" / "settling"
        if isinstance(engine.model, WindowModel):
            drawn += draw_settling(engine, chosen, target)
        elif isinstance(engine.model, TokenModel):
            drawn += draw_token(engine, chosen[0], target)
        else:
            drawn += draw_stream(engine, chosen[0], target)
    return drawn


def _beginnings(folder: Path, engine: Engine) -> list[str]:
    """The first window of every sample, or a stream's whole samples."""
    files = sorted((folder / "samples").glob("*.txt"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    if not isinstance(engine.model, WindowModel):
        return texts
    window = engine.model.config.window_size
    return [engine.tokenizer.decode(engine.tokenizer.encode(text)[:window]) for text in texts]
