"""`boggers compare`: two texts side by side, where their states end and how they come there."""

import dataclasses
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from boggers.cli.parse import parse
from boggers.cli.relaxing import Relaxing
from boggers.evals.render import table
from boggers.files import write_json
from boggers.infer.engine import Engine
from boggers.probe.pair import Pair, compare
from boggers.train.run import choose_device

DESCRIPTION = """Let two texts settle and say how far apart they end.

    boggers compare runs/demo "cats eat fish" "fish eat cats"

Distances and cosines are those of the whole state: a window's W positions, or the last position of
a stream, from the start (step 0) through every step."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What `boggers compare` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]
    """One text."""

    second: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]
    """The other."""

    out: Path | None = None
    """Where the picture goes, without suffix; compare in the run's folder plots if left out."""

    json: Path | None = None
    """Write the figures to this file as well."""

    relaxing: Relaxing = field(default_factory=Relaxing)

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""


def run(argv: list[str]) -> None:
    """Compare, print and draw."""
    options = parse(CompareOptions, argv, verb="compare", description=DESCRIPTION)
    console = Console(highlight=False, soft_wrap=True)
    engine = Engine.load(
        options.run,
        str(choose_device(options.device)),
        relax_steps=options.relaxing.relax_steps,
        relax_tolerance=options.relaxing.relax_tolerance,
    )
    pair = compare(engine, options.first, options.second)
    console.print(render(pair), markup=False)
    if options.json is not None:
        write_json(options.json, as_json(pair))
    if importlib.util.find_spec("matplotlib") is None:
        console.print(
            "No picture: matplotlib is missing. Install it with: pip install 'boggers[plots]'",
            markup=False,
        )
        return
    from boggers.plots.pair import draw_pair

    for path in draw_pair(pair, options.out or options.run / "plots" / "compare"):
        console.print(f"Picture: {path}", markup=False)


def render(pair: Pair) -> str:
    """The two texts, step by step, and what they predict."""
    rows = [("step", "distance", "cosine")]
    rows += [
        (str(step), f"{distance:.4f}", f"{cosine:+.4f}")
        for step, (distance, cosine) in enumerate(zip(pair.distance, pair.cosine, strict=True))
    ]
    said = [("", "energy", "next")]
    for side in pair.sides:
        likeliest = ", ".join(f"{token!r} {p:.3f}" for token, p in side.said)
        said.append((side.text, f"{side.energy:.4g}", likeliest))
    return "\n\n".join(
        [
            table(said),
            table(rows),
            f"The predictions differ by {pair.divergence:.4f} bits (Jensen–Shannon, 0 to 1).",
            f"{pair.diagnosis.sentence} (two places).",
        ]
    )


def as_json(pair: Pair) -> dict[str, Any]:
    """The figures, without the states themselves."""
    return {
        "texts": [side.text for side in pair.sides],
        "tokens": [side.tokens for side in pair.sides],
        "energy": [side.energy for side in pair.sides],
        "next": [[[token, p] for token, p in side.said] for side in pair.sides],
        "distance": pair.distance,
        "cosine": pair.cosine,
        "divergence_bits": pair.divergence,
        "diagnosis": dataclasses.asdict(pair.diagnosis),
    }
