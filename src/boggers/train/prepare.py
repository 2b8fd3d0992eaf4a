"""From a configuration to everything that training needs, new or continued."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from boggers.data.corpus import training_documents
from boggers.data.sequences import Sequences
from boggers.data.split import Split, split
from boggers.data.tokens import TokenCorpus, tokenise
from boggers.data.windows import Batch, Windows
from boggers.files import write_json
from boggers.infer.score import score
from boggers.model.architectures import Model, build_model
from boggers.model.stream import StreamConfig
from boggers.probe.diagnosis import diagnose
from boggers.text.base import Tokenizer
from boggers.text.config import build_tokenizer
from boggers.text.store import load_tokenizer
from boggers.train import checkpoint
from boggers.train.average import WeightAverage
from boggers.train.checkpoint import Origin, Progress
from boggers.train.coupling import Coupling, make_coupling
from boggers.train.graph_config import require_fitting
from boggers.train.objective import require_possible
from boggers.train.observers import Validation
from boggers.train.optim import Optimizer, make_optimizer
from boggers.train.run import Run, RunConfig, choose_device
from boggers.train.start import choose_start

Validate = Callable[[Model], Validation]
"""Measures a model, which is in evaluation mode, on the held-out text."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """All parts of a run, standing at `progress`."""

    config: RunConfig
    run: Run
    device: torch.device
    tokenizer: Tokenizer
    corpus: TokenCorpus
    split: Split
    rows: Windows | Sequences
    model: Model
    optimizer: Optimizer
    average: WeightAverage | None
    """The running average of the weights, if one is kept."""
    coupling: Coupling | None
    """The graph and the memory of tokens, if the run has one of them."""
    origin: Origin
    progress: Progress
    damaged: tuple[str, ...] = ()
    """One sentence for every damaged checkpoint that was passed over."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps that use every training row once; the last may be smaller."""
        return math.ceil(len(self.rows) / self.config.rows_per_step)

    @property
    def total_steps(self) -> int:
        """The step at which the run ends, however often it was resumed."""
        train = self.config.train
        if train.max_steps is not None:
            return train.max_steps
        return train.max_epochs * self.steps_per_epoch

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch `index` of an epoch (both from 0) on the run's device."""
        seed, size = self.config.train.seed, self.config.rows_per_step
        if isinstance(self.rows, Windows):
            batch = self.rows.batch(seed, epoch, index, size)
        else:
            batch = self.rows.epoch_batch(seed, epoch, index, size)
        return Batch(batch.contexts.to(self.device), batch.targets.to(self.device))

    @property
    def validate(self) -> Validate | None:
        """Measures the whole held-out text with plain cross-entropy; None if none is held out."""
        return self._validate if len(self.split.held_out) > 0 else None

    def _validate(self, model: Model) -> Validation:
        held_out = self.split.held_out
        measured = score(model, self.corpus.ids, held_out.start, held_out.stop)
        found = diagnose(model, self.corpus.ids, held_out.start, held_out.stop)
        held_bytes = int(self.corpus.byte_lengths[held_out.start : held_out.stop].sum())
        return Validation(
            ce=measured.nats / measured.tokens,
            bits_per_byte=measured.nats / math.log(2.0) / held_bytes,
            tokens=measured.tokens,
            diagnosis=None if found is None else found.verdict,
        )


def prepare(config: RunConfig, progress: Callable[[int, int], None] | None = None) -> Prepared:
    """Build every part of the run that `config` describes, or continue the one it names.

    The run's folder is written only after everything has been built, so a mistake in the
    settings leaves nothing behind.

    Args:
        config: the run; `train.resume` and `train.resume_checkpoint` say whether to continue.
        progress: told how far tokenising is.

    Raises:
        UserError: a setting does not fit the text or the machine; the folder already holds a
            run; there is nothing to continue, or it does not fit this configuration.
    """
    config = _with_memory(config)
    train = config.train
    require_possible(config.loss, config.architecture)
    require_fitting(config.graph, config.model)
    device = choose_device(train.device)
    start = choose_start(config)
    tokenizer = (
        build_tokenizer(config.text, training_documents(config.data))
        if start.source is None
        else load_tokenizer(start.source.tokenizer)
    )
    corpus = tokenise(config.data, tokenizer, progress)
    parts, rows = _cut(config, corpus)
    initial = torch.Generator().manual_seed(train.seed)
    model = build_model(config.model, tokenizer.vocab_size, initial).to(device)
    optimizer = make_optimizer(model, config.optim)
    average = None if train.ema_decay is None else WeightAverage(model, train.ema_decay)
    coupling = make_coupling(config, model, start.run, device)
    origin = Origin(
        tokenizer=tokenizer.fingerprint,
        corpus=corpus.key,
        train_tokens=len(parts.train),
        window=parts.window,
        windows_per_step=config.rows_per_step,
        seed=train.seed,
    )
    at = Progress()
    if start.checkpoint is not None:
        at = checkpoint.load(start.checkpoint, model, optimizer, origin, average, coupling)
    prepared = Prepared(
        config=_settled(config, start.run),
        run=start.run,
        device=device,
        tokenizer=tokenizer,
        corpus=corpus,
        split=parts,
        rows=rows,
        model=model,
        optimizer=optimizer,
        average=average,
        coupling=coupling,
        origin=origin,
        progress=at,
        damaged=start.damaged,
    )
    _write_folder(prepared)
    return prepared


def _cut(config: RunConfig, corpus: TokenCorpus) -> tuple[Split, Windows | Sequences]:
    """What is trained on and what is held out, and the rows of the former."""
    tokens, share = len(corpus.ids), config.data.val_fraction
    if isinstance(config.model, StreamConfig):
        length = config.model.sequence_length
        parts = split(tokens, share, length, flag="--sequence-length")
        return parts, Sequences(corpus.ids, parts.train.start, parts.train.stop, length)
    window = config.model.window_size
    parts = split(tokens, share, window)
    return parts, Windows(corpus.ids, parts.train.start, parts.train.stop, window)


def _with_memory(config: RunConfig) -> RunConfig:
    """The configuration with the form of the bonus that a memory implies."""
    if not config.graph.use_goat_memory or config.model.token_bonus is not None:
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, token_bonus="hold"))


def _settled(config: RunConfig, run: Run) -> RunConfig:
    """The configuration to keep: where the run lies, and not how this call came to it."""
    train = dataclasses.replace(config.train, out=run.folder, resume=None, resume_checkpoint=None)
    return dataclasses.replace(config, train=train)


def _write_folder(prepared: Prepared) -> None:
    """Save what defines the run beside its checkpoints."""
    run, parts, corpus = prepared.run, prepared.split, prepared.corpus
    prepared.tokenizer.save(run.tokenizer)
    write_json(
        run.data_file,
        {
            "corpus": str(prepared.config.data.corpus),
            "key": corpus.key,
            "tokenizer": prepared.tokenizer.fingerprint,
            "tokens": len(corpus.ids),
            "bytes": corpus.n_bytes,
            "documents": corpus.n_documents,
            "train": [parts.train.start, parts.train.stop],
            "held_out": [parts.held_out.start, parts.held_out.stop],
            "requested_val_fraction": parts.requested,
            "effective_val_fraction": parts.effective,
            "reliable": parts.reliable,
        },
    )
    run.save_config(prepared.config)
