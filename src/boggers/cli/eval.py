"""`boggers eval`: a run's held-out numbers beside those of n-gram models, and its inside."""

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from boggers.cli.parse import parse
from boggers.cli.progress import measurement
from boggers.cli.relaxing import Relaxing
from boggers.errors import UserError
from boggers.evals.generation import SAMPLES
from boggers.evals.render import render, table
from boggers.evals.report import Report, evaluate
from boggers.files import write_json
from boggers.graph.ticks import TICKS
from boggers.train.run import choose_device

UNSOUND = 1

DESCRIPTION = """Measure a run on text that it has not seen, beside n-gram models.

Everything is measured on exactly the tokens that the run holds out: bits per byte with intervals,
what it writes, whether it knows of its errors, where its states come to rest and which patterns
pulled them. Leaks are looked for first; where one is found, the exit code is 1.

    boggers eval runs/demo
    boggers eval runs/demo --quick
    boggers eval runs/demo --html demo.html
    boggers eval runs/demo --tasks blimp,lambada_openai"""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What `boggers eval` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    corpus: str | None = None
    """Measure on the whole of this text instead of the run's own held-out part."""

    json: Path | None = None
    """Write the numbers to this file as well."""

    html: Path | None = None
    """Write the report to this file as one self-contained page with pictures (extra plots)."""

    quick: bool = False
    """Leave out the inside: samples, uncertainty, attractors, patterns, timescales."""

    samples: int = SAMPLES
    """Continuations to write for the figures of writing; at least 1."""

    tasks: Annotated[str | None, tyro.conf.arg(metavar="TASK,TASK,…")] = None
    """Ask the run these tasks of lm-evaluation-harness instead (extra eval)."""

    include_path: Path | None = None
    """Folder of task files of your own, for --tasks."""

    limit: int | None = None
    """Ask only so many documents of each task, at least 1."""

    use_substrate: bool = False
    """Run the wave cycle in a quick report and on other text too, always on the run's own held-out
    text, and refuse where it cannot be; kept as wave_cycle.json in the run's folder besides. A full
    report of a run as it is has it anyway: a fresh living graph feels the run and ticks, and what
    must and must not change is checked. Exit code 1 if not."""

    max_ticks: int = TICKS
    """Most ticks of that cycle, at least 0."""

    use_goat_memory: bool = False
    """Measure the run with and without the pull of its remembered tokens; kept as memory.json."""

    relaxing: Relaxing = field(default_factory=Relaxing)
    """With either of these the run's own eval.json is left as it is."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    def __post_init__(self) -> None:
        for flag, value in (("--samples", self.samples), ("--limit", self.limit)):
            if value is not None and value < 1:
                raise UserError(f"{flag} must be at least 1; it is {value}.")
        if self.max_ticks < 0:
            raise UserError(f"--max-ticks must be at least 0; it is {self.max_ticks}.")

    @property
    def ticks(self) -> int | None:
        """Ticks of the wave cycle; None where none is run."""
        own = self.corpus is None and self.relaxing == Relaxing()
        return self.max_ticks if self.use_substrate or (own and not self.quick) else None


def run(argv: list[str]) -> int:
    """Measure, print, and keep what was asked for; 1 if the figures are not to be believed."""
    options = parse(EvalOptions, argv, verb="eval", description=DESCRIPTION)
    console = Console(highlight=False, soft_wrap=True)
    if options.tasks is not None:
        _ask(options, options.tasks, console)
        return 0
    if options.html is not None and importlib.util.find_spec("plotly") is None:
        raise UserError("--html needs plotly. Install it with: pip install 'boggers[plots]'")
    report = _measured(options)
    console.print(render(report), markup=False)
    if options.json is not None:
        write_json(options.json, report.to_json())
    if options.html is not None:
        from boggers.cli.page import write_report

        write_report(report, options.run, options.html)
        console.print(f"\nPage: {options.html}", markup=False)
    cycle = report.wave_cycle
    if options.use_substrate:
        if cycle is None:
            raise UserError(report.no_cycle or "No wave cycle was run.")
        write_json(options.run / "wave_cycle.json", cycle.to_json())
    if options.use_goat_memory:
        from boggers.evals import coupled  # needs the extra graph

        memory = coupled.evaluate_memory(options.run, device=str(choose_device(options.device)))
        console.print(coupled.render_memory(memory), markup=False)
        write_json(options.run / "memory.json", memory.to_json())
    return UNSOUND if report.leaks or (cycle is not None and not cycle.sound) else 0


def _measured(options: EvalOptions) -> Report:
    """The report, with a bar that says what is being done."""
    with measurement(Console(file=sys.stderr, highlight=False)) as told:
        return evaluate(
            options.run,
            corpus=options.corpus,
            relax_steps=options.relaxing.relax_steps,
            relax_tolerance=options.relaxing.relax_tolerance,
            device=str(choose_device(options.device)),
            full=not options.quick,
            samples=options.samples,
            max_ticks=options.ticks,
            told=told,
        )


def _ask(options: EvalOptions, names: str, console: Console) -> None:
    """The harness' figures of a run as a table."""
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError(
            "--tasks needs lm-evaluation-harness. Install it with: pip install 'boggers[eval]'"
        )
    from boggers.evals.harness import on_tasks

    found = on_tasks(
        options.run,
        [name.strip() for name in names.split(",") if name.strip()],
        include=options.include_path,
        limit=options.limit,
        device=str(choose_device(options.device)),
        relax_steps=options.relaxing.relax_steps,
    )
    rows = [("task", "metric", "value")]
    rows += [
        (task, name.removesuffix(",none"), f"{value:.6g}")
        for task, figures in found.items()
        for name, value in figures.items()
    ]
    console.print(table(rows), markup=False)
    if options.json is not None:
        write_json(options.json, found)
