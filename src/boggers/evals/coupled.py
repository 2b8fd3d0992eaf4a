"""A run beside a graph, and with and without its memory: what must change and what must not."""

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from boggers.data.tokens import TokenCorpus, tokenise
from boggers.errors import UserError
from boggers.evals.ngram import bits_per_byte
from boggers.files import read_json
from boggers.graph.feedback import Feedback
from boggers.graph.harness import (
    EVOLVE_THRESHOLD,
    LANGUAGE_THRESHOLD,
    WaveCycleReport,
    run_wave_cycle,
)
from boggers.graph.language import LanguageNode
from boggers.graph.ticks import TICKS
from boggers.graph.tscore import bootstrap
from boggers.infer.engine import Engine
from boggers.infer.noise import breaking_noise
from boggers.infer.score import score
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel
from boggers.model.token import TokenModel
from boggers.model.window import WindowModel
from boggers.train.run import Run
from boggers.train.substrate import controlled, gains_of

BATCHES, BATCH = 8, 16
TOKENS = 20_000
"""Held-out tokens that are measured at most."""

COMPARED = 512
"""States whose likeness is measured."""


@dataclass(frozen=True, kw_only=True)
class CycleReport:
    """A run before and after a wave cycle.

    Attributes:
        cycle: what the graph went through.
        bpb_before, bpb_after: bits per byte with nothing flowing back; must be equal.
        bpb_coupled: with the run's gains and the graph as it was left; None without gains.
        weights_unchanged, bpb_unchanged, graph_moved: whether what must hold holds.
    """

    cycle: WaveCycleReport
    bpb_before: float
    bpb_after: float
    bpb_coupled: float | None
    weights_unchanged: bool
    bpb_unchanged: bool
    graph_moved: bool

    @property
    def sound(self) -> bool:
        """Whether the cycle changed what it must and nothing else."""
        return self.weights_unchanged and self.bpb_unchanged and self.graph_moved

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """A run with the pull of its remembered tokens and without.

    Attributes:
        bpb, bpb_without: bits per byte of the held-out text.
        cosine, cosine_without: mean between settled states of different tokens; 1 = all alike.
        active: tokens with a pull.
        form: hold or additive.
    """

    bpb: float
    bpb_without: float
    cosine: float
    cosine_without: float
    active: int
    form: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class _HeldOut:
    engine: Engine
    run: Run
    corpus: TokenCorpus
    start: int
    stop: int

    @property
    def bpb(self) -> float:
        found = score(self.engine.model, self.corpus.ids, self.start, self.stop)
        n_bytes = int(self.corpus.byte_lengths[self.start : self.stop].sum(dtype=np.int64))
        return bits_per_byte(found.nats, n_bytes)

    def rows(self, length: int, count: int) -> Tensor:
        """Stretches of the held-out text, (≤ count, length), next to one another."""
        ids = self.corpus.ids[self.start : self.stop].astype(np.int64)
        count = min(count, len(ids) // length)
        return torch.from_numpy(ids[: count * length].reshape(count, length))


def evaluate_cycle(run_dir: Path, *, max_ticks: int = TICKS, device: str = "cpu") -> CycleReport:
    """Let a fresh graph feel a run on 8 batches of held-out text, then run its wave cycle.

    Raises:
        UserError: there is no such run, or it holds out too little.
    """
    held = _open(run_dir, device)
    model = held.engine.model
    options = held.run.load_config().graph
    before, weights = held.bpb, _digest(model)
    node = LanguageNode(
        bootstrap(),
        language_threshold=LANGUAGE_THRESHOLD,
        evolve_threshold=EVOLVE_THRESHOLD,
        original=options.substrate_original,
    )
    cycle = run_wave_cycle(node, _tensions(held), max_ticks)
    after = held.bpb
    unchanged = _digest(model) == weights
    feedback = Feedback(gains_of(options))
    feedback.look(node.graph)
    usual, coupled = model.config, None
    changed = controlled(usual, feedback)
    if changed is not usual:
        model.config = changed
        coupled = held.bpb
        model.config = usual
    return CycleReport(
        cycle=cycle,
        bpb_before=before,
        bpb_after=after,
        bpb_coupled=coupled,
        weights_unchanged=unchanged,
        bpb_unchanged=before == after,
        graph_moved=node.graph.tick > 0 or max_ticks == 0,
    )


def evaluate_memory(run_dir: Path, *, device: str = "cpu") -> MemoryReport:
    """Measure a run with the pull of its remembered tokens and with that pull at zero.

    Raises:
        UserError: the run was trained without a memory, or holds out too little.
    """
    held = _open(run_dir, device)
    model = held.engine.model
    if model.bonus is None:
        raise UserError(f"{run_dir} remembers no tokens: it was trained without --use-goat-memory.")
    kept = model.bonus.strength.clone()
    bpb, cosine = held.bpb, _likeness(held)
    model.bonus.write(torch.zeros_like(kept))
    report = MemoryReport(
        bpb=bpb,
        bpb_without=held.bpb,
        cosine=cosine,
        cosine_without=_likeness(held),
        active=int((kept > 0).sum()),
        form=str(model.config.token_bonus),
    )
    model.bonus.write(kept)
    return report


def render_cycle(report: CycleReport) -> str:
    """The report in a few lines."""
    cycle = report.cycle
    felt = "nothing" if cycle.mean_lang_tension is None else f"{cycle.mean_lang_tension:.4f}"
    lines = [
        f"wave cycle: mean language tension {felt}; graph tension "
        f"{cycle.ts_tension_before:.6f} before, {cycle.ts_tension_after:.6f} after "
        f"{cycle.ts_ticks} ticks ({cycle.reason}), {cycle.evolve_count} nodes grew",
        f"must not change: weights {_said(report.weights_unchanged)}, bits per byte "
        f"{report.bpb_before:.6f} → {report.bpb_after:.6f} {_said(report.bpb_unchanged)}",
        f"must change: the graph {_said(report.graph_moved)}",
    ]
    if report.bpb_coupled is not None:
        lines.append(f"with the graph's controls: {report.bpb_coupled:.6f} bits per byte")
    return "\n".join(lines)


def render_memory(report: MemoryReport) -> str:
    """The report in a few lines."""
    return (
        f"token memory ({report.form}, {report.active:,} active tokens): "
        f"{report.bpb:.4f} bits per byte with it, {report.bpb_without:.4f} without; mean cosine of "
        f"settled states {report.cosine:.4f} with it, {report.cosine_without:.4f} without"
    )


def _said(holds: bool) -> str:
    return "(as it must)" if holds else "(NOT as it must)"


def _open(run_dir: Path, device: str) -> _HeldOut:
    run = Run(Path(run_dir))
    config = run.load_config()
    engine = Engine.load(run.folder, device)
    corpus = tokenise(config.data, engine.tokenizer)
    recorded = read_json(run.data_file)
    if corpus.key != recorded["key"]:
        raise UserError(f"The corpus {recorded['corpus']} has changed since; restore it.")
    start, stop = (int(place) for place in recorded["held_out"])
    if stop - start < 2 * config.tokens_per_row + 16:
        raise UserError(f"{run_dir} holds out too little text: {stop - start} tokens.")
    return _HeldOut(engine, run, corpus, start, min(stop, start + TOKENS))


@torch.no_grad()
def _tensions(held: _HeldOut) -> list[float]:
    """The mean tension of up to 8 batches of 16 rows of held-out text."""
    found = []
    rows = held.rows(_length(held.engine.model), BATCHES * BATCH)
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        if len(batch) < 2:
            continue
        _, tension = _settled(held.engine.model, batch)
        found.append(tension)
    return found


@torch.no_grad()
def _likeness(held: _HeldOut) -> float:
    """Mean cosine between settled states of different tokens."""
    length = _length(held.engine.model)
    rows = held.rows(length, max(2, COMPARED // length))
    states, _ = _settled(held.engine.model, rows)
    tokens = rows.flatten().to(states.device)
    units = normalize(states.flatten(0, 1), dim=-1)
    others = tokens[:, None] != tokens[None]
    return float((units @ units.t())[others].mean())


def _settled(model: Model, rows: Tensor) -> tuple[Tensor, float]:
    """Settled states, and their mean tension; of a stream, its mean residual."""
    tokens = rows.to(model.embedding.device)
    noise = breaking_noise(tokens.device)
    if isinstance(model, StreamModel):
        reading = model(tokens, generator=noise)
        if not reading.settled:  # a stream without steps never rests and is never tense
            return torch.nn.functional.embedding(tokens, model.embedding), math.nan
        residual = torch.stack([rest.residual.mean() for rest in reading.settled]).mean()
        return reading.settled[-1].state, float(residual)
    if isinstance(model, TokenModel):
        followed = model(tokens, generator=noise)
        return followed.fast, float(followed.settled("tension").mean())
    settled = model.settle(tokens, generator=noise, keep_curves=False)
    tension = float(settled.tension[-1].mean()) if len(settled.tension) else math.nan
    return settled.state, tension


def _length(model: Model) -> int:
    if isinstance(model, WindowModel):
        return model.config.window_size
    return model.config.sequence_length


def _digest(model: Model) -> str:
    whole = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        whole.update(name.encode())
        whole.update(weight.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
