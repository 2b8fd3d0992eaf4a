"""`boggers generate`: continue a prompt, piece by piece."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from boggers.cli.parse import parse
from boggers.cli.relaxing import Relaxing
from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.infer.sampling import Sampling
from boggers.train.run import choose_device


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

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UserError(f"--max-tokens must be at least 1; it is {self.max_tokens}.")


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
    print(prompt, end="", flush=True)
    for piece in engine.stream(
        prompt, max_tokens=options.max_tokens, sampling=options.sampling, seed=options.seed
    ):
        print(piece, end="", flush=True)
    print()
