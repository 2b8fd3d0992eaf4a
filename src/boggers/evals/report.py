"""One measurement of a run: its held-out numbers beside those of counting."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boggers.data.config import DataConfig
from boggers.data.shards import total
from boggers.data.tokens import TokenCorpus, tokenise
from boggers.errors import UserError
from boggers.evals.ngram import KneserNey, Unigram, bits_per_byte
from boggers.files import read_json, write_json
from boggers.infer.engine import Engine, find_checkpoint
from boggers.infer.score import score
from boggers.train.run import Run

EVALUATION = "eval.json"


@dataclass(frozen=True)
class Baseline:
    """A counting model on the same tokens: nats per token, bits per byte."""

    ce: float
    bpb: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run knows of text it has not seen; all cross-entropies are plain, on every token."""

    val_ce: float
    """Nats per held-out token."""
    val_ppl: float
    """exp(val_ce)."""
    val_bpb: float
    """Bits per UTF-8 byte of the held-out text."""
    val_tokens: int
    params: int
    params_embedding: int
    train_tokens: int
    """Tokens predicted in training, repetitions counted."""
    seconds: float
    """Wall-clock time of the training."""
    steps: int
    """Optimiser steps."""
    relax_steps: int
    """Most relaxation steps of a window, or of a position in each stage."""
    mean_tension: float
    mean_energy: float
    mean_residual: float
    mean_relax_steps: float
    corpus: str
    beats_trigram: bool
    baselines: dict[str, Baseline]

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return dataclasses.asdict(self)


def evaluate(
    run_dir: Path,
    *,
    corpus: str | None = None,
    relax_steps: int | None = None,
    relax_tolerance: float | None = None,
    device: str = "cpu",
) -> Report:
    """Measure the newest checkpoint of a run.

    On the run's own held-out tokens the report is kept as `eval.json`. With another corpus all of
    its tokens are held-out. The n-gram models learn from the run's training tokens either way, so
    the text that the run was trained on must be at hand.

    Args:
        run_dir: the run.
        corpus: another text.
        relax_steps: relaxation steps instead of the trained number.
        relax_tolerance: let what moves less than this rest.
        device: where to compute.

    Raises:
        UserError: there is no such run, its data has changed, or nothing is held out.
    """
    run = Run(Path(run_dir))
    config = run.load_config()
    engine = Engine.load(
        run.folder, device, relax_steps=relax_steps, relax_tolerance=relax_tolerance
    )
    own = tokenise(config.data, engine.tokenizer)
    recorded = read_json(run.data_file)
    if own.key != recorded["key"]:
        raise UserError(
            f"The corpus {recorded['corpus']} has changed since {run.folder} was trained on it. "
            "Restore it: the n-gram models beside the run learn from its training part."
        )
    learnt = own.ids[slice(*recorded["train"])]
    measured = own
    start, stop = (int(place) for place in recorded["held_out"])
    if corpus is not None:
        other = DataConfig(corpus=corpus, cache_dir=config.data.cache_dir)
        measured = tokenise(other, engine.tokenizer)
        start, stop = 0, len(measured.ids)
    if stop <= start:
        raise UserError(
            f"{run.folder} holds out no text to measure on. Give one with --corpus, "
            "or train with --val-fraction above 0."
        )
    report = _measure(engine, run, learnt, measured, start, stop, corpus)
    if corpus is None and relax_steps is None and relax_tolerance is None:
        write_json(run.folder / EVALUATION, report.to_json())
    return report


def render(report: Report) -> str:
    """The run beside the counting models as a plain table, and whether it beats the trigram."""
    rows = [("this run", report.val_bpb, report.val_ce)]
    rows += [(name, each.bpb, each.ce) for name, each in report.baselines.items()]
    wide = max(len(name) for name, _, _ in rows)
    lines = [f"{'':<{wide}}  bits per byte  nats per token  perplexity"]
    lines += [
        f"{name:<{wide}}  {bpb:>13.4f}  {ce:>14.4f}  {_perplexity(ce):>10.1f}"
        for name, bpb, ce in rows
    ]
    return "\n".join([*lines, "", _verdict(report)])


def _verdict(report: Report) -> str:
    trigram = report.baselines["trigram"].bpb
    share = 100.0 * abs(report.val_bpb / trigram - 1.0)
    how = "beats" if report.beats_trigram else "does not beat"
    return (
        f"The run {how} the Kneser–Ney trigram: {report.val_bpb:.4f} against {trigram:.4f} bits "
        f"per byte, {share:.1f} % {'fewer' if report.beats_trigram else 'more'}, on "
        f"{report.val_tokens:,} held-out tokens with {report.params:,} parameters "
        f"({report.params_embedding:,} of them the embedding table)."
    )


def _perplexity(ce: float) -> float:
    """exp(ce), kept within the range of a float."""
    return math.exp(min(ce, 700.0))


def _measure(
    engine: Engine,
    run: Run,
    learnt: np.ndarray[Any, Any],
    measured: TokenCorpus,
    start: int,
    stop: int,
    corpus: str | None,
) -> Report:
    found = score(engine.model, measured.ids, start, stop)
    n_bytes = total(measured.byte_lengths, start, stop)
    baselines = {
        name: Baseline(ce=nats / found.tokens, bpb=bits_per_byte(nats, n_bytes))
        for name, nats in _baselines(engine, learnt, measured, start, stop).items()
    }
    progress = read_json(find_checkpoint(run.folder) / "state.json")["progress"]
    counts = engine.model.parameter_counts()
    ce = found.nats / found.tokens
    bpb = bits_per_byte(found.nats, n_bytes)
    return Report(
        val_ce=ce,
        val_ppl=_perplexity(ce),
        val_bpb=bpb,
        val_tokens=found.tokens,
        params=counts.total,
        params_embedding=counts.embedding,
        train_tokens=progress["tokens"],
        seconds=progress["seconds"],
        steps=progress["step"],
        relax_steps=engine.model.config.num_dynamics_steps,
        mean_tension=found.tension,
        mean_energy=found.energy,
        mean_residual=found.residual,
        mean_relax_steps=found.steps,
        corpus=corpus or run.load_config().data.source,
        beats_trigram=bpb < baselines["trigram"].bpb,
        baselines=baselines,
    )


def _baselines(
    engine: Engine, learnt: np.ndarray[Any, Any], measured: TokenCorpus, start: int, stop: int
) -> dict[str, float]:
    """Total nats of each counting model on the held-out tokens."""
    vocab_size = engine.tokenizer.vocab_size
    models: dict[str, Unigram | KneserNey] = {
        "unigram": Unigram(vocab_size),
        "bigram": KneserNey(2, vocab_size),
        "trigram": KneserNey(3, vocab_size),
    }
    return {name: m.fit(learnt).nats(measured.ids, start, stop) for name, m in models.items()}
