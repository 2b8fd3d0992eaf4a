"""One contestant, trained once under the terms of a contest and measured on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boggers.data.sequences import Sequences
from boggers.evals.contest import Budget, Contestant, size_of
from boggers.evals.flops import flops_per_token
from boggers.evals.heldout import HeldOut
from boggers.train.optim import OptimConfig, guarded_step, learning_rate, make_optimizer
from boggers.train.precision import Precision, products_in


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is equal for all who take part."""

    budget: Budget
    """How large they are."""

    sequences: Sequences
    """What they are trained on."""

    held_out: HeldOut
    """What they are judged on."""

    optim: OptimConfig
    """How their weights move, but for a factor on all rates that is swept for each."""

    batch_tokens: int
    """Predicted tokens of an optimiser step."""

    measurements: int
    """How often each is judged, the end included."""

    device: torch.device
    """Where they are trained."""

    precision: Precision
    """What they are trained in; they are judged in float32."""

    @property
    def rows(self) -> int:
        """Sequences of an optimiser step."""
        return max(1, self.batch_tokens // self.sequences.length)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who is trained, and how long."""

    contestant: str
    """The name."""

    seed: int
    """Fixes the initial weights and the order of the text."""

    factor: float
    """On all learning rates."""

    steps: int
    """Optimiser steps."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A measurement on the way."""

    tokens: int
    """Tokens predicted in training so far."""

    seconds: float
    """Spent on training so far, measuring excluded."""

    bpb: float
    """Held-out bits per byte."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an entry."""

    entry: Entry
    """Who it was."""

    params: int
    """Parameters, all of them."""

    non_embedding: int
    """Those besides the embedding table."""

    flops_per_token: float
    """Operations of a training step, by token; see `flops_per_token`."""

    curve: tuple[Point, ...]
    """Measurements, the last one at the end."""

    @property
    def bpb(self) -> float:
        """Held-out bits per byte at the end."""
        return self.curve[-1].bpb

    @property
    def seconds(self) -> float:
        """Spent on training."""
        return self.curve[-1].seconds

    @property
    def tokens(self) -> int:
        """Tokens predicted in training."""
        return self.curve[-1].tokens

    @property
    def tokens_per_second(self) -> float:
        """Of training."""
        return self.tokens / max(self.seconds, 1e-9)


Told = Callable[[int, int, float], None]
"""Told the steps taken, the steps in all and the latest loss in nats, now and then."""

TELL_EVERY = 10


def run_entry(
    entry: Entry, contestant: Contestant, terms: Terms, told: Told | None = None
) -> Outcome:
    """Train one contestant from scratch; the same entry gives the same numbers but for time.

    Args:
        entry: who, from which seed, at which rates, how long.
        contestant: what builds the model.
        terms: what is equal for all.
        told: hears how far it is.
    """
    generator = torch.Generator().manual_seed(entry.seed)
    model = contestant.build(terms.budget, generator).to(terms.device).train()
    size = size_of(model)
    operations = flops_per_token(model, terms.budget.vocab_size, terms.sequences.length)
    curve = _train(model, entry, terms, told)
    return Outcome(
        entry=entry,
        params=size.total,
        non_embedding=size.non_embedding,
        flops_per_token=operations,
        curve=tuple(curve),
    )


def _train(model: nn.Module, entry: Entry, terms: Terms, told: Told | None) -> list[Point]:
    optim = scaled(terms.optim, entry.factor)
    optimizer = make_optimizer(model, optim)
    due = {round(entry.steps * n / terms.measurements) for n in range(1, terms.measurements + 1)}
    curve: list[Point] = []
    spent, began = 0.0, time.perf_counter()
    for step in range(entry.steps):
        batch = terms.sequences.batch(entry.seed, step, terms.rows).to(terms.device)
        loss = loss_of(model, batch, terms)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        rate = learning_rate(optim, step, entry.steps, entry.steps)
        guarded_step(optimizer, loss, rate, optim.grad_clip)
        if told is not None and (step + 1) % TELL_EVERY == 0:
            told(step + 1, entry.steps, float(loss.detach()))
        if step + 1 in due:
            if terms.device.type == "cuda":
                torch.cuda.synchronize(terms.device)
            spent += time.perf_counter() - began
            bpb = terms.held_out.bits_per_byte(model, terms.device)
            tokens = (step + 1) * terms.rows * terms.sequences.length
            curve.append(Point(tokens=tokens, seconds=spent, bpb=bpb))
            began = time.perf_counter()
    return curve


def loss_of(model: nn.Module, batch: Tensor, terms: Terms) -> Tensor:
    """Mean cross-entropy in nats of what follows in a batch (B, T + 1)."""
    with products_in(terms.precision, terms.device):
        logits = model(batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


def scaled(optim: OptimConfig, factor: float) -> OptimConfig:
    """The same optimiser with all its rates multiplied."""
    table = optim.lr if optim.embedding_lr is None else optim.embedding_lr
    return replace(
        optim,
        lr=factor * optim.lr,
        muon_lr=factor * optim.muon_lr,
        embedding_lr=factor * table,
    )
