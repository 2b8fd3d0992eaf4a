"""`boggers generate`: continue a prompt, piece by piece."""

import dataclasses
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from boggers.cli.parse import parse
from boggers.cli.relaxing import Relaxing
from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.infer.sampling import Sampling
from boggers.train.run import Run, choose_device

if TYPE_CHECKING:
    from boggers.infer.pulse import Pulse


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """What `boggers generate` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    prompt: str
    """The text to continue; - reads it from the standard input."""

    max_tokens: int = 100
    """Tokens to add, at least 1."""

    seed: int = 42
    """Fixes the random draws: the same seed says the same."""

    relaxing: Relaxing = field(default_factory=Relaxing)

    use_substrate: bool = False
    """Let a copy of the run's living graph (TS-Core's four nodes if it has none) feel every token;
    the graph answers as far as the run's gains, or the two below, say."""

    graph_temperature: float | None = None
    """Gain by which the graph's tension lowers the temperature; the run's own if left out."""

    graph_steps: float | None = None
    """Gain by which the graph's tension lengthens the settling of a window; the run's own if left
    out."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UserError(f"--max-tokens must be at least 1; it is {self.max_tokens}.")
        for flag, gain in (
            ("--graph-temperature", self.graph_temperature),
            ("--graph-steps", self.graph_steps),
        ):
            if gain is not None and not self.use_substrate:
                raise UserError(f"{flag} does nothing without --use-substrate.")
            if gain is not None and not math.isfinite(gain):
                raise UserError(f"{flag} must be a finite number; it is {gain}.")


def run(argv: list[str]) -> None:
    """Print the prompt and what the run makes of it."""
    options = parse(
        GenerateOptions,
        argv,
        verb="generate",
        description="Continue a prompt with a trained run.",
    )
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    engine = Engine.load(
        options.run,
        device=choose_device(options.device),
        relax_steps=options.relaxing.relax_steps,
        relax_tolerance=options.relaxing.relax_tolerance,
    )
    pulse = _pulse(options, engine) if options.use_substrate else None
    print(prompt, end="", flush=True)
    for piece in engine.stream(
        prompt,
        max_tokens=options.max_tokens,
        sampling=options.sampling,
        seed=options.seed,
        pulse=pulse,
    ):
        print(piece, end="", flush=True)
    print()


def _pulse(options: GenerateOptions, engine: Engine) -> "Pulse":
    """The run's graph as it was left, in memory only, and what of it flows back."""
    from boggers.graph.feedback import Feedback
    from boggers.graph.language import LanguageNode
    from boggers.graph.store import GraphStore
    from boggers.graph.tscore import bootstrap
    from boggers.infer.pulse import Pulse
    from boggers.train.substrate import DATABASE, gains_of

    run = Run(options.run)
    config = run.load_config().graph
    graph = bootstrap()
    if (run.folder / DATABASE).is_file():
        with GraphStore(run.folder / DATABASE) as store:
            graph = graph if store.empty else store.load()
    node = LanguageNode(
        graph,
        language_threshold=config.language_threshold,
        evolve_threshold=config.evolve_threshold,
        original=config.substrate_original,
    )
    gains = gains_of(config)
    if options.graph_temperature is not None:
        gains = dataclasses.replace(gains, temperature=options.graph_temperature)
    if options.graph_steps is not None:
        gains = dataclasses.replace(gains, steps=options.graph_steps)
    feedback = Feedback(gains)
    feedback.look(graph)
    return Pulse(engine.model, node, feedback)
