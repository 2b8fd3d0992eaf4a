"""One measurement of a run: its held-out numbers beside those of counting, and its inside."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from boggers.data.config import DataConfig
from boggers.data.tokens import tokenise
from boggers.errors import UserError
from boggers.evals.bootstrap import ratio
from boggers.evals.figures import Baseline as Baseline
from boggers.evals.figures import Report as Report
from boggers.evals.figures import perplexity
from boggers.evals.generation import SAMPLES
from boggers.evals.inside import HeldOutText, look_inside
from boggers.evals.leaks import check_split, overlap, reads_ahead, trained_on
from boggers.evals.ngram import KneserNey, Unigram, bits_per_byte
from boggers.evals.tokens import measure
from boggers.files import read_json, write_json
from boggers.infer.engine import Engine, find_checkpoint
from boggers.model.architectures import Model
from boggers.probe.diagnosis import diagnose
from boggers.probe.places import has_places, places_in, spread
from boggers.train.losses import trajectory_contrast
from boggers.train.run import Run

EVALUATION = "eval.json"

CONTRAST_PLACES = 256
Told = Callable[[str, int | None, int | None], None]
"""Hears what is being done, and how much of how much if that is known."""


def evaluate(
    run_dir: Path,
    *,
    corpus: str | None = None,
    relax_steps: int | None = None,
    relax_tolerance: float | None = None,
    device: str = "cpu",
    full: bool = True,
    samples: int = SAMPLES,
    max_ticks: int | None = None,
    told: Told | None = None,
) -> Report:
    """Measure the newest checkpoint of a run.

    On the run's own held-out tokens, exactly those that its data.json records, the report is kept
    as `eval.json`. With another corpus all of its tokens are held-out, its first one predicted
    from what stands between documents. The n-gram models learn from the run's training tokens
    either way, so the text that the run was trained on must be at hand.

    Args:
        run_dir: the run.
        corpus: another text.
        relax_steps: relaxation steps instead of the trained number.
        relax_tolerance: let what moves less than this rest.
        device: where to compute.
        full: look inside as well: samples, uncertainty, attractors, patterns, timescales.
        samples: continuations that a full report writes, at least 1.
        max_ticks: ticks after which the wave cycle of a living graph that felt the run ends at the
            latest; None = no cycle is run.
        told: hears how far it is.

    Raises:
        UserError: there is no such run, its data or its recorded split has changed, or nothing is
            held out.
    """
    if samples < 1:
        raise UserError(f"--samples must be at least 1; it is {samples}. Use --quick for none.")
    say = told or (lambda what, done, total: None)
    run = Run(Path(run_dir))
    engine = Engine.load(
        run.folder, device, relax_steps=relax_steps, relax_tolerance=relax_tolerance
    )
    say("reading the text", None, None)
    text = held_out_text(run, engine, corpus)
    report = _measure(engine, run, text, corpus, full, samples, say)
    if max_ticks is not None:
        say("running the wave cycle", None, None)
        report = _with_cycle(report, run, max_ticks, device)
    usual = corpus is None and relax_steps is None and relax_tolerance is None
    if usual and (full or not _is_fuller(run.folder / EVALUATION, report)):
        write_json(run.folder / EVALUATION, report.to_json())
    return report


def held_out_text(run: Run, engine: Engine, corpus: str | None = None) -> HeldOutText:
    """The text to measure a run on: its held-out part as it was recorded, or all of another text.

    Raises:
        UserError: the run's text or its recorded split has changed, or nothing is held out.
    """
    config = run.load_config()
    own = tokenise(config.data, engine.tokenizer)
    recorded = read_json(run.data_file)
    if own.key != recorded["key"]:
        raise UserError(
            f"The corpus {recorded['corpus']} has changed since {run.folder} was trained on it. "
            "Restore it: the n-gram models beside the run learn from its training part."
        )
    trained = range(*(int(place) for place in recorded["train"]))
    start, stop = (int(place) for place in recorded["held_out"])
    check_split(trained, range(start, stop), len(own.ids))
    ids, byte_lengths = own.ids, own.byte_lengths
    if corpus is not None:
        only = DataConfig(corpus=corpus, cache_dir=config.data.cache_dir)
        other = tokenise(only, engine.tokenizer)
        # A text begins where a document does: after the separator, or id 0 without one.
        between = engine.tokenizer.separator_id or 0
        ids = np.concatenate([np.array([between], dtype=other.ids.dtype), other.ids[:]])
        byte_lengths = np.concatenate([np.array([0], dtype=np.int64), other.byte_lengths[:]])
        start, stop = 1, len(ids)
    if stop <= start:
        raise UserError(
            f"{run.folder} holds out no text to measure on. Give one with --corpus, "
            "or train with --val-fraction above 0."
        )
    return HeldOutText(ids, byte_lengths, start, stop, own.ids, trained)


def _measure(
    engine: Engine,
    run: Run,
    text: HeldOutText,
    corpus: str | None,
    full: bool,
    samples: int,
    say: Told,
) -> Report:
    model, ids, start, stop = engine.model, text.ids, text.start, text.stop
    table = measure(
        model, ids, start, stop, told=lambda done, total: say("predicting", done, total)
    )
    say("counting n-grams", None, None)
    held_bytes = text.byte_lengths[start:stop].astype(np.int64)
    counted = _baselines(engine, text)
    say("looking for leaks", None, None)
    trained = text.corpus[text.trained.start : text.trained.stop]
    shared = overlap(trained, ids[start:stop], held_bytes)
    inside = None
    if full:
        inside = look_inside(
            engine, text, table, samples=samples, told=lambda what: say(what, None, None)
        )
    nats, n_bytes = float(table.nats.sum()), int(held_bytes.sum())
    checkpoint = find_checkpoint(run.folder)
    progress = read_json(checkpoint / "state.json")["progress"]
    counts = model.parameter_counts()
    per_byte = 1 / math.log(2.0)
    return Report(
        val_ce=nats / len(table),
        val_ppl=perplexity(nats / len(table)),
        val_bpb=bits_per_byte(nats, n_bytes),
        val_tokens=len(table),
        params=counts.total,
        params_embedding=counts.embedding,
        train_tokens=progress["tokens"],
        seconds=progress["seconds"],
        steps=progress["step"],
        relax_steps=model.config.num_dynamics_steps,
        mean_tension=float(table.tension.mean()),
        mean_energy=float(table.energy.mean()),
        mean_residual=float(table.residual.mean()),
        mean_relax_steps=float(table.steps.mean()),
        corpus=corpus or run.load_config().data.source,
        beats_trigram=bool(nats < counted["trigram"].sum()),
        baselines={
            name: Baseline(
                ce=float(each.sum()) / len(table), bpb=bits_per_byte(float(each.sum()), n_bytes)
            )
            for name, each in counted.items()
        },
        val_ce_interval=ratio(table.nats, np.ones(len(table))),
        val_bpb_interval=ratio(table.nats, held_bytes, per_byte),
        trigram_margin=ratio(counted["trigram"] - table.nats, held_bytes, per_byte),
        accuracy=float(table.correct.mean()),
        val_traj_contrast=_contrast(model, ids, start, stop),
        diagnosis=diagnose(model, ids, start, stop),
        overlap=shared,
        leaks=[*trained_on(shared), *reads_ahead(model, ids, start, stop)],
        inside=inside,
        checkpoint=checkpoint.name,
        config=run.load_config(),
    )


def _baselines(engine: Engine, text: HeldOutText) -> dict[str, NDArray[np.float64]]:
    """-ln p of every held-out token by each counting model, (N,)."""
    vocab_size = engine.tokenizer.vocab_size
    learnt = text.corpus[text.trained.start : text.trained.stop]
    held_out = text.ids[text.start : text.stop].astype(np.int64)
    unigram = Unigram(vocab_size).fit(learnt)
    found = {"unigram": -np.log(unigram.probabilities[held_out])}
    for order, name in ((2, "bigram"), (3, "trigram")):
        model = KneserNey(order, vocab_size).fit(learnt)
        found[name] = -np.log(model.probabilities(text.ids, text.start, text.stop))
    return found


@torch.no_grad()
def _contrast(model: Model, ids: NDArray[Any], start: int, stop: int) -> float | None:
    """The path contrast at some places, other places' paths as negatives."""
    at = spread(start, min(stop, start + 4096), CONTRAST_PLACES)
    if not has_places(model) or len(at) < 2:
        return None
    places = places_in(model, ids, at)
    path = places.settle(places.start)[1:]
    chosen = torch.Generator(device=path[0].device).manual_seed(0)
    return float(trajectory_contrast(path, chosen))


def _with_cycle(report: Report, run: Run, max_ticks: int, device: str) -> Report:
    """The report with a wave cycle beside the run on its own held-out text, or why without."""
    try:
        from boggers.evals.coupled import evaluate_cycle  # needs the extra graph

        cycle = evaluate_cycle(run.folder, max_ticks=max_ticks, device=device)
    except UserError as reason:
        return dataclasses.replace(report, no_cycle=f"No wave cycle was run: {reason}")
    return dataclasses.replace(report, wave_cycle=cycle)


def _is_fuller(path: Path, report: Report) -> bool:
    """Whether a full report of the very same checkpoint lies there already."""
    if not path.is_file():
        return False
    kept = read_json(path)
    same = all(
        kept.get(name) == getattr(report, name) for name in ("steps", "val_ce", "checkpoint")
    )
    return same and kept.get("inside") is not None
