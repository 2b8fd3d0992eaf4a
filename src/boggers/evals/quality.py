"""A contest: every contestant with its best learning rate, over several seeds, on equal terms."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from boggers.errors import UserError
from boggers.evals.contest import Contestant
from boggers.evals.trial import Entry, Outcome, Terms, loss_of, run_entry, scaled
from boggers.files import read_json, write_json
from boggers.train.optim import guarded_step, make_optimizer
from boggers.train.typed_json import from_json, to_json

CALIBRATION_STEPS = 15
WARM_UP_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who takes part, how often and how long; give either tokens or seconds."""

    contestants: Sequence[Contestant]
    """Who takes part."""

    seeds: Sequence[int]
    """Each trains everyone once; rates are swept at the first."""

    factors: Sequence[float]
    """What all learning rates are multiplied by in the sweep."""

    tokens: int
    """Predicted tokens of a training, unless seconds are given."""

    seconds: float | None
    """Seconds of a training; as many steps as a contestant takes in that time here."""

    sweep_share: float
    """Length of a training in the sweep, as a share of a whole one; in (0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a contestant came to."""

    name: str
    """Of the contestant."""

    sweep: tuple[Outcome, ...]
    """Its trainings at every factor."""

    outcomes: tuple[Outcome, ...]
    """Its whole trainings at the best factor, one for every seed."""

    @property
    def factor(self) -> float:
        """The best factor on its learning rates."""
        return self.outcomes[0].entry.factor

    @property
    def mean(self) -> float:
        """Mean bits per byte over the seeds."""
        return statistics.mean(outcome.bpb for outcome in self.outcomes)

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest bits per byte."""
        values = [outcome.bpb for outcome in self.outcomes]
        return min(values), max(values)


Told = Callable[[str, int, int, float], None]
"""Told who is being trained, the steps taken, the steps in all, the latest loss."""


class Trials:
    """Trainings that are kept in a folder, one file each, so that a contest can be interrupted.

    Several processes may fill the same folder, each with contestants of its own.

    Args:
        folder: where they lie.
        terms: of the contest; what was trained under other terms is refused.
        described: the terms as JSON, everything that decides a training's numbers.
    """

    def __init__(self, folder: Path, terms: Terms, described: dict[str, Any]) -> None:
        self.folder = folder
        self.terms = terms
        self.described = described

    def run(self, contestant: Contestant, entry: Entry, told: Told | None) -> Outcome:
        """The outcome of an entry, trained now unless it was before.

        Raises:
            UserError: the folder holds that training under other terms.
        """
        file = self.folder / f"{entry.contestant}-seed{entry.seed}-x{entry.factor:g}-{entry.steps}"
        file = file.with_name(file.name + ".json")
        if file.exists():
            kept = read_json(file)
            if kept["terms"] != self.described:
                raise UserError(
                    f"{file} was trained under other terms than these. Give another --out, or "
                    "move it away."
                )
            return from_json(Outcome, kept["outcome"])

        def heard(step: int, steps: int, loss: float) -> None:
            if told is not None:
                told(f"{entry.contestant} seed {entry.seed} x{entry.factor:g}", step, steps, loss)

        outcome = run_entry(entry, contestant, self.terms, heard)
        write_json(file, {"terms": self.described, "outcome": to_json(outcome)})
        return outcome

    def steps(self, contestant: Contestant, plan: Plan) -> int:
        """Optimiser steps of a whole training."""
        tokens = self.terms.rows * self.terms.sequences.length
        if plan.seconds is None:
            return max(1, round(plan.tokens / tokens))
        file = self.folder / f"{contestant.name}-seconds{plan.seconds:g}.json"
        if not file.exists():
            pace = seconds_per_step(contestant, self.terms)
            write_json(file, {"seconds_per_step": pace, "steps": max(1, int(plan.seconds / pace))})
        return int(read_json(file)["steps"])


def compete(plan: Plan, trials: Trials, told: Told | None = None) -> list[Standing]:
    """Train everyone and rank them, the best first.

    Args:
        plan: who, how often, how long.
        trials: where trainings are kept and found again.
        told: hears how far it is.
    """
    standings = [_standing(contestant, plan, trials, told) for contestant in plan.contestants]
    return sorted(standings, key=lambda standing: standing.mean)


def _standing(contestant: Contestant, plan: Plan, trials: Trials, told: Told | None) -> Standing:
    steps = trials.steps(contestant, plan)
    short = max(1, round(plan.sweep_share * steps))

    def entry(seed: int, factor: float, length: int) -> Entry:
        return Entry(contestant=contestant.name, seed=seed, factor=factor, steps=length)

    sweep: list[Outcome] = []
    if len(plan.factors) > 1:
        entries = [entry(plan.seeds[0], factor, short) for factor in plan.factors]
        sweep = [trials.run(contestant, each, told) for each in entries]
    best = min(sweep, key=lambda o: o.bpb).entry.factor if sweep else plan.factors[0]
    whole = [trials.run(contestant, entry(seed, best, steps), told) for seed in plan.seeds]
    return Standing(name=contestant.name, sweep=tuple(sweep), outcomes=tuple(whole))


def seconds_per_step(contestant: Contestant, terms: Terms) -> float:
    """The median time of an optimiser step on this machine, measured now."""
    model = contestant.build(terms.budget, torch.Generator().manual_seed(0)).to(terms.device)
    optim = scaled(terms.optim, 1.0)
    optimizer = make_optimizer(model.train(), optim)
    times: list[float] = []
    for step in range(WARM_UP_STEPS + CALIBRATION_STEPS):
        began = time.perf_counter()
        batch = terms.sequences.batch(0, step, terms.rows).to(terms.device)
        loss = loss_of(model, batch, terms)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        guarded_step(optimizer, loss, 1e-6, optim.grad_clip)
        if terms.device.type == "cuda":
            torch.cuda.synchronize(terms.device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[WARM_UP_STEPS:])
