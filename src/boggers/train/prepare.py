"""From a configuration to everything that training needs, new or continued."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from boggers.data.config import DataConfig
from boggers.data.hub import materialise
from boggers.data.lanes import Lanes
from boggers.data.lines import cut_lines
from boggers.data.sequences import Sequences
from boggers.data.shards import total
from boggers.data.split import Split, split
from boggers.data.tokens import TokenCorpus, tokenise
from boggers.data.vocabulary import tokenizer_for
from boggers.data.windows import Batch, Windows
from boggers.files import write_json
from boggers.infer.score import Progress as Told
from boggers.infer.score import score
from boggers.model.architectures import Model, build_model
from boggers.model.stream import StreamConfig
from boggers.model.token import TokenConfig
from boggers.parallel import ALONE, World, require_determinism
from boggers.probe.diagnosis import diagnose
from boggers.text.base import Tokenizer
from boggers.text.store import load_tokenizer
from boggers.train import checkpoint
from boggers.train.average import WeightAverage
from boggers.train.checkpoint import Origin, Progress
from boggers.train.coupling import Coupling, make_coupling
from boggers.train.elsewhere import place_checkpoints
from boggers.train.fallback import with_text
from boggers.train.graph_config import require_fitting
from boggers.train.guidance import Guidance, make_guidance
from boggers.train.objective import require_possible
from boggers.train.observers import Validation
from boggers.train.optim import Optimizer, make_optimizer
from boggers.train.run import Run, RunConfig, choose_device
from boggers.train.share import open_door, require_whole_batches
from boggers.train.start import choose_start

Validate = Callable[[Model, Told], Validation]
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
    rows: Windows | Sequences | Lanes
    model: Model
    door: nn.Module
    """The way to the model's weights for what needs them gathered; see `train.share`."""
    optimizer: Optimizer
    average: WeightAverage | None
    """The running average of the weights, if one is kept."""
    coupling: Coupling | None
    """The graph and the memory of tokens, if the run has one of them."""
    origin: Origin
    progress: Progress
    carried: dict[str, Tensor] = field(default_factory=dict)
    """What the step before the next one left to go on from; empty at an epoch's beginning."""
    guidance: Guidance | None = None
    """Looks up what windows are led to in training, if anything."""
    damaged: tuple[str, ...] = ()
    """One sentence for every damaged checkpoint that was passed over."""
    replaced: str | None = None
    """Says so where generated text took the place of the corpus."""
    world: World = ALONE
    """The processes that train it together."""

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

    def rows_of(self, index: int) -> int:
        """Rows of batch `index` of an epoch, over all processes; the last may have fewer."""
        size = self.config.rows_per_step
        return min(size, len(self.rows) - index * size)

    def batch(self, epoch: int, index: int, rows: slice = slice(None)) -> Batch:
        """Batch `index` of an epoch (both from 0), or some rows of it, on the run's device."""
        seed, size = self.config.train.seed, self.config.rows_per_step
        if isinstance(self.rows, Windows):
            batch = self.rows.batch(seed, epoch, index, size, rows)
        else:
            batch = self.rows.epoch_batch(seed, epoch, index, size, rows)
        contexts, targets = batch.contexts.to(self.device), batch.targets.to(self.device)
        states = None
        if self.guidance is not None and batch.numbers is not None:
            states = self.guidance(batch.numbers, contexts)
        return Batch(contexts, targets, batch.numbers, states)

    @property
    def judged(self) -> range:
        """The held-out tokens that a measurement during training reads: all, or the first ones."""
        return self.split.held_out[: self.config.train.eval_tokens]

    @property
    def validate(self) -> Validate | None:
        """Measures held-out text with plain cross-entropy; None if none is held out."""
        return self._validate if len(self.split.held_out) > 0 else None

    def _validate(self, model: Model, told: Told) -> Validation:
        held_out = self.judged
        told(0, len(held_out))
        measured = score(model, self.corpus.ids, held_out.start, held_out.stop, progress=told)
        found = diagnose(model, self.corpus.ids, held_out.start, held_out.stop)
        held_bytes = total(self.corpus.byte_lengths, held_out.start, held_out.stop)
        return Validation(
            ce=measured.nats / measured.tokens,
            bits_per_byte=measured.nats / math.log(2.0) / held_bytes,
            tokens=measured.tokens,
            partial=measured.tokens < len(self.split.held_out),
            diagnosis=None if found is None else found.verdict,
        )


def prepare(
    config: RunConfig,
    progress: Callable[[int, int], None] | None = None,
    world: World | None = None,
) -> Prepared:
    """Build every part of the run that `config` describes, or continue the one it names.

    The run's folder is written only after everything has been built, so a mistake in the
    settings leaves nothing behind.

    Args:
        config: the run; `train.resume` and `train.resume_checkpoint` say whether to continue.
        progress: told how far tokenising is.
        world: the processes that train together, each of which calls this; itself if left out.

    Raises:
        UserError: a setting does not fit the text or the machine; the folder already holds a
            run; there is nothing to continue, or it does not fit this configuration.
    """
    world = world or ALONE
    config = _with_memory(config)
    train = config.train
    require_possible(config.loss, config.architecture)
    context = getattr(config.model, "window_size", config.tokens_per_row)
    require_fitting(config.graph, config.model)
    require_whole_batches(config, world)
    if config.parallel.deterministic:
        require_determinism()
    device = world.device(choose_device(train.device))
    start = world.told(lambda: choose_start(config))
    with world.one_first():
        config, replaced = with_text(config, context)
        config = dataclasses.replace(config, data=_fetched(config.data, progress))
        tokenizer = (
            tokenizer_for(config.text, config.data)
            if start.source is None
            else load_tokenizer(start.source.tokenizer)
        )
        corpus = tokenise(config.data, tokenizer, progress)
    world.require_same("text and tokenizer", f"{corpus.key} {tokenizer.fingerprint}")
    parts, rows = _cut(config, corpus)
    initial = torch.Generator().manual_seed(train.seed)
    model = build_model(config.model, tokenizer.vocab_size, initial)
    guidance = make_guidance(config.loss, model, rows, device)
    door = open_door(model, world, config, device)
    optimizer = make_optimizer(model, config.optim)
    average = None if train.ema_decay is None else WeightAverage(model, train.ema_decay)
    coupling = make_coupling(config, model, start.run, device, world)
    origin = Origin(
        tokenizer=tokenizer.fingerprint,
        corpus=corpus.key,
        train_tokens=len(parts.train),
        window=parts.window,
        windows_per_step=config.rows_per_step,
        seed=train.seed,
    )
    at, carried = Progress(), dict[str, Tensor]()
    if start.checkpoint is not None:
        at = checkpoint.load(start.checkpoint, model, optimizer, origin, average, coupling)
        carried = checkpoint.load_carried(start.checkpoint, device)
        # Every process has read it before one of them goes on and removes it.
        world.meet()
    prepared = Prepared(
        config=_settled(config, start.run),
        run=start.run,
        device=device,
        tokenizer=tokenizer,
        corpus=corpus,
        split=parts,
        rows=rows,
        model=model,
        door=door,
        optimizer=optimizer,
        average=average,
        coupling=coupling,
        origin=origin,
        progress=at,
        carried=carried,
        guidance=guidance,
        damaged=start.damaged,
        replaced=replaced,
        world=world,
    )
    world.told(lambda: _write_folder(prepared))
    return prepared


def _fetched(data: DataConfig, progress: Callable[[int, int], None] | None) -> DataConfig:
    """The same text; if it is one of the hub it is here now, and need not be fetched again."""
    if data.dataset_source == "local":
        return data
    materialise(data, progress)
    return dataclasses.replace(data, hf_refresh=False)


def _cut(config: RunConfig, corpus: TokenCorpus) -> tuple[Split, Windows | Sequences | Lanes]:
    """What is trained on and what is held out, and the rows of the former."""
    tokens, share = len(corpus.ids), config.data.val_fraction
    if isinstance(config.model, StreamConfig):
        length = config.model.sequence_length
        parts = split(tokens, share, length, flag="--sequence-length")
        return parts, Sequences(corpus.ids, parts.train.start, parts.train.stop, length)
    if isinstance(config.model, TokenConfig):
        length = config.model.sequence_length
        parts = split(tokens, share, length, flag="--sequence-length")
        start, stop = parts.train.start, parts.train.stop
        return parts, Lanes(corpus.ids, start, stop, length, config.rows_per_step)
    window = config.model.window_size
    if not config.data.streaming_dataset:
        return cut_lines(
            corpus.ids,
            corpus.byte_lengths,
            share,
            window,
            copies=config.data.epoch_copies or 1,
            buffer=config.data.shuffle_buffer,
        )
    parts = split(tokens, share, window)
    return parts, Windows(corpus.ids, parts.train.start, parts.train.stop, window)


def _with_memory(config: RunConfig) -> RunConfig:
    """The configuration with the form of the bonus that a memory implies."""
    if not config.graph.use_goat_memory or config.model.token_bonus is not None:
        return config
    if isinstance(config.model, TokenConfig):  # which `require_fitting` refuses
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, token_bonus="hold"))


def _settled(config: RunConfig, run: Run) -> RunConfig:
    """The configuration to keep: where the run lies, and not how this call came to it."""
    train = dataclasses.replace(config.train, out=run.folder, resume=None, resume_checkpoint=None)
    return dataclasses.replace(config, train=train)


def _write_folder(prepared: Prepared) -> None:
    """Save what defines the run beside its checkpoints."""
    run, parts, corpus = prepared.run, prepared.split, prepared.corpus
    if prepared.config.record.checkpoint_dir is not None:
        place_checkpoints(run, prepared.config.record.checkpoint_dir)
    prepared.tokenizer.save(run.tokenizer)
    write_json(
        run.data_file,
        {
            "corpus": prepared.config.data.source,
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
