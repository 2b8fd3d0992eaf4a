"""`boggers train`: from a recipe, a file and flags to a run's folder with everything in it."""

import importlib.util
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from boggers.cli.configuration import read_configuration
from boggers.cli.progress import TrainingProgress, measurement
from boggers.cli.quick import quick_test
from boggers.data.corpus import documents
from boggers.evals.render import render
from boggers.evals.report import evaluate
from boggers.files import write_json, write_text
from boggers.infer.engine import Engine
from boggers.infer.sampling import Sampling
from boggers.machine import keep_memory
from boggers.model.architectures import ModelConfig
from boggers.model.token import TokenConfig
from boggers.model.window import WindowConfig
from boggers.parallel import World, join, leave, watched
from boggers.text.folding import folding_report
from boggers.text.gpt2 import GPT2Tokenizer
from boggers.train.interruption import Interruption
from boggers.train.loop import fit
from boggers.train.observers import FitResult
from boggers.train.prepare import Prepared, prepare
from boggers.train.records import Records, make_records
from boggers.train.run import RunConfig
from boggers.train.summary import baseline_block, evaluation_json
from boggers.train.tables import Cell

INTERRUPTED = 130
SAMPLE_TOKENS = 120
SAMPLE_CHARACTERS = 100_000
STREAM_PROMPT = 32
"""Tokens that a stream is prompted with."""

SAMPLE_PLACES = (0.0, 1 / 3, 2 / 3)
"""Where in the held-out text the prompts of the samples come from."""


def run(argv: list[str]) -> int:
    """Train, measure, sample and draw."""
    config = read_configuration(argv)
    if config.record.quick_test:
        return quick_test(config, Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    world = join()
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty(), quiet=not world.is_first)
    # Of several processes the first decides, for instance on the name of the run's folder.
    prepared = _prepare(world.told(lambda: config), console, world)
    for line in start_report(prepared):
        console.print(line, markup=False)
    folder = prepared.run.folder
    keep_memory()
    with TrainingProgress(console, prepared.progress.step) as progress:
        records = make_records(prepared, lambda line: console.print(line, markup=False))
        result = fit(
            prepared,
            [progress, *records.observers],
            prepared.validate,
            records.recorders,
            progress.measuring,
        )
    leave(world)
    if result.interrupted:
        console.print(
            f"Continue with: boggers train {' '.join(_without_resume(argv))} --resume auto"
            if "--out" in argv
            else f"Continue with the same command and --out {folder} --resume auto",
            markup=False,
        )
        return _code(result.signal)
    if not world.is_first:
        return 0
    with Interruption() as interruption:
        ended = interruption.attempt(lambda: _close(prepared, result, records, console))
    if ended is None:
        console.print(
            f"Ended by a signal; training is done and saved in {folder}. Measure it with: "
            f"boggers eval {folder}",
            markup=False,
        )
    return _code(interruption.number)


def _code(number: int | None) -> int:
    """The exit code after a signal, or after none."""
    return INTERRUPTED if number == signal.SIGINT else 0


def _close(prepared: Prepared, result: FitResult, records: Records, console: Console) -> bool:
    """Measure, sample and draw what training has come to; true once all of it is done."""
    folder = prepared.run.folder
    if prepared.split.held_out:
        with measurement(console) as told:
            report = evaluate(folder, device=str(prepared.device), full=False, told=told)
        console.print(f"\nHeld-out text:\n{render(report)}", markup=False)
    samples = write_samples(prepared, console)
    write_summary(prepared, result, records.epochs.last, samples)
    draw(folder, console)
    console.print(f"Everything lies in {folder}:", markup=False)
    for name, meaning in _CONTENTS:
        if (folder / name).exists():
            console.print(f"  {name:<13}{meaning}", markup=False)
    console.print(f'Go on with: boggers generate {folder} --prompt "…"', markup=False)
    return True


_CONTENTS = (
    ("config.json", "everything that defines the run"),
    ("data.json", "the text and how it was split"),
    ("tokenizer", "how text becomes numbers"),
    ("checkpoints", "the weights"),
    ("metrics.csv", "how it learned"),
    ("eval.json", "what it knows of text it has not seen"),
    ("samples", "what it says"),
    ("baseline.txt", "all of it in one block of text"),
    ("batches.csv", "how every batch settled"),
    ("plots", "how it learned and how it settles, drawn"),
)


def start_report(prepared: Prepared) -> list[str]:
    """What is about to happen, line by line."""
    config, tokenizer, corpus = prepared.config, prepared.tokenizer, prepared.corpus
    counts = prepared.model.parameter_counts()
    lines = [*prepared.damaged, *([prepared.replaced] if prepared.replaced else [])]
    lines.append(f"run        {prepared.run.folder}")
    lines.append(f"device     {prepared.device}")
    lines.append(f"tokenizer  {tokenizer.kind}, vocabulary {tokenizer.vocab_size:,}")
    lines.append(
        f"text       {config.data.source}: {corpus.n_bytes:,} bytes, "
        f"{len(corpus.ids):,} tokens, {corpus.n_documents:,} documents"
    )
    lines += [f"{'':<11}{line}" for line in _folding(prepared)]
    for number, line in enumerate(prepared.split.report()):
        lines.append(f"{'' if number else 'split':<11}{line}")
    lines.append(
        f"model      {config.architecture}: {_shape(config.model)}, "
        f"K={config.model.num_dynamics_steps}; {counts.total:,} parameters, "
        f"{counts.embedding:,} of them the embedding table"
    )
    rows = {"window": "windows", "stream": "sequences", "token": "lanes"}[config.architecture]
    todo = f"{prepared.total_steps:,} steps of {config.rows_per_step} {rows}"
    at = prepared.progress.step
    lines.append(f"training   {todo}" + (f", continued at step {at:,}" if at else ""))
    if prepared.world.size > 1:
        lines.append(
            f"processes  {prepared.world.size}, {config.parallel.strategy}; they share each step"
        )
    return lines


def _shape(model: ModelConfig) -> str:
    if isinstance(model, WindowConfig):
        return f"W={model.window_size}, D={model.state_dim}, {model.num_waves} waves"
    if isinstance(model, TokenConfig):
        return (
            f"T={model.sequence_length}, D={model.state_dim}, {model.num_waves} waves, "
            f"{model.kind} drift"
        )
    basins = f", {model.num_basins} basins" if model.num_basins > 1 else ""
    return (
        f"T={model.sequence_length}, D={model.state_dim}, {model.num_stages} stages, "
        f"{model.memory} memory of {model.memory_patterns}{basins}"
    )


def write_samples(prepared: Prepared, console: Console) -> list[str]:
    """Let the run continue three places of the held-out text, if any; print and keep the result."""
    texts = []
    folder = prepared.run.folder
    source = prepared.split.held_out or prepared.split.train
    engine = Engine.load(folder, device=prepared.device)
    model = prepared.config.model
    window = model.window_size if isinstance(model, WindowConfig) else STREAM_PROMPT
    for number, place in enumerate(SAMPLE_PLACES, start=1):
        start = source.start + int(place * max(0, len(source) - window))
        prompt = prepared.tokenizer.decode(prepared.corpus.ids[start : start + window].tolist())
        sampling = Sampling(temperature=0.8, top_p=0.95)
        text = engine.generate(prompt, max_tokens=SAMPLE_TOKENS, sampling=sampling, seed=number)
        texts.append(text)
        write_text(folder / "samples" / f"sample-{number}.txt", text + "\n")
        console.print(f"\nSample {number}:", style="bold")
        shown = "".join(letter if letter.isprintable() else " " for letter in text)
        console.print(" ".join(shown.split()), markup=False)
    console.print()
    return texts


def write_summary(
    prepared: Prepared, result: FitResult, epoch: dict[str, Cell], samples: list[str]
) -> None:
    """Keep the closing block of text, and what else was asked for of the same content."""
    record = prepared.config.record
    block = baseline_block(prepared, result, epoch, samples)
    write_text(prepared.run.folder / "baseline.txt", block)
    if record.baseline_out is not None:
        write_text(record.baseline_out, block)
    if record.eval_results_json is not None:
        write_json(record.eval_results_json, evaluation_json(prepared, result))


def draw(folder: Path, console: Console) -> None:
    """Draw the run, or say which extra is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        console.print(
            "No plots: matplotlib is missing. Install it with: pip install 'boggers[plots]'",
            markup=False,
        )
        return
    from boggers.cli.plot import draw_run

    draw_run(folder, inside=False)


def _prepare(config: RunConfig, console: Console, world: World) -> Prepared:
    """Build the run, with a bar while the text is cut into tokens."""
    shown = console.is_terminal and world.is_first
    with watched(world), Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("reading the text", total=None)

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return prepare(config, told, world)


def _folding(prepared: Prepared) -> list[str]:
    """How much of the beginning of the text is folded, if the tokenizer folds."""
    tokenizer = prepared.tokenizer
    if not isinstance(tokenizer, GPT2Tokenizer) or not tokenizer.lossy:
        return []
    sample = next(documents(prepared.config.data))[:SAMPLE_CHARACTERS]
    return [folding_report(tokenizer, sample)]


def _without_resume(argv: Sequence[str]) -> list[str]:
    """The arguments without an earlier `--resume auto`."""
    kept = list(argv)
    if "--resume" in kept:
        at = kept.index("--resume")
        del kept[at : at + 2]
    return kept
