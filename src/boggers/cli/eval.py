"""`boggers eval`: a run's held-out numbers beside those of n-gram models."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from boggers.cli.parse import parse
from boggers.cli.relaxing import Relaxing
from boggers.errors import UserError
from boggers.evals.report import evaluate, render
from boggers.files import write_json
from boggers.train.run import choose_device


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What `boggers eval` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    corpus: str | None = None
    """Measure on the whole of this text instead of the run's own held-out part."""

    json: Path | None = None
    """Write the numbers to this file as well."""

    use_substrate: bool = False
    """Let a fresh living graph feel the run on held-out text, run its wave cycle, and check what
    must and must not change; kept as wave_cycle.json in the run's folder. Exit code 1 if not."""

    max_ticks: int = 11
    """Most ticks of that cycle, at least 0."""

    use_goat_memory: bool = False
    """Measure the run with and without the pull of its remembered tokens; kept as memory.json."""

    relaxing: Relaxing = field(default_factory=Relaxing)
    """With either of these the run's own eval.json is left as it is."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        if self.max_ticks < 0:
            raise UserError(f"--max-ticks must be at least 0; it is {self.max_ticks}.")


def run(argv: list[str]) -> int:
    """Measure, print, and keep what was asked for."""
    options = parse(
        EvalOptions,
        argv,
        verb="eval",
        description="Measure a run on text that it has not seen, beside n-gram models.",
    )
    report = evaluate(
        options.run,
        corpus=options.corpus,
        relax_steps=options.relaxing.relax_steps,
        relax_tolerance=options.relaxing.relax_tolerance,
        device=str(choose_device(options.device)),
    )
    print(render(report))
    if options.json is not None:
        write_json(options.json, report.to_json())
    return _coupled(options)


def _coupled(options: EvalOptions) -> int:
    """The wave cycle and the memory, where asked for; 1 if something changed that must not."""
    if not (options.use_substrate or options.use_goat_memory):
        return 0
    from boggers.evals import coupled

    device, sound = str(choose_device(options.device)), True
    if options.use_goat_memory:
        memory = coupled.evaluate_memory(options.run, device=device)
        print(coupled.render_memory(memory))
        write_json(options.run / "memory.json", memory.to_json())
    if options.use_substrate:
        cycle = coupled.evaluate_cycle(options.run, max_ticks=options.max_ticks, device=device)
        print(coupled.render_cycle(cycle))
        write_json(options.run / "wave_cycle.json", cycle.to_json())
        sound = cycle.sound
    return 0 if sound else 1
