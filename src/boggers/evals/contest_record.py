"""A contest of `boggers bench quality` in short: the record that claims are made from."""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.evals.trial import Outcome
from boggers.files import read_json, write_json
from boggers.train.typed_json import from_json

CONTEST = "contest.json"
TRIALS = "trials"
OWN_TERMS = ("corpus", "optim")
"""The place of the text is nobody's affair, and an optimiser may have learnt further options."""


def record_contest(contest: Path, folder: Path) -> None:
    """Write the record of a contest: terms, every contestant's figures, and who is below whom.

    A contestant counts with its trainings at the rates that were best at the first seed. By what
    share one is below another, 1 - b/a of the mean bits per byte, is said where both have the same
    seeds.

    Args:
        contest: the folder that holds `trials`.
        folder: where the record goes.

    Raises:
        UserError: there are no trainings, or they were held on different terms.
    """
    files = sorted((contest / TRIALS).glob("*-seed*.json"))
    if not files:
        raise UserError(f"{contest / TRIALS} must hold the trainings of a contest; it holds none.")
    kept = [read_json(file) for file in files]
    for one, file in zip(kept, files, strict=True):
        _check(kept[0]["terms"], one["terms"], file)
    by_name: dict[str, list[tuple[Outcome, dict[str, Any]]]] = defaultdict(list)
    for one in kept:
        outcome = from_json(Outcome, one["outcome"])
        by_name[outcome.entry.contestant].append((outcome, one["terms"]["optim"]))
    standings = {name: _standing(trials) for name, trials in sorted(by_name.items())}
    shared = {name: value for name, value in kept[0]["terms"].items() if name not in OWN_TERMS}
    write_json(
        folder / CONTEST,
        {"terms": shared, "contestants": standings, "below": below(standings)},
    )


def below(standings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By what share the second is below the first, where the same seeds were trained."""
    return {
        first: {
            second: 1 - theirs["bpb"] / ours["bpb"]
            for second, theirs in standings.items()
            if theirs["bpb"] < ours["bpb"] and theirs["seeds"].keys() == ours["seeds"].keys()
        }
        for first, ours in standings.items()
    }


def _standing(trials: list[tuple[Outcome, dict[str, Any]]]) -> dict[str, Any]:
    """One contestant's figures at its best rates."""
    first = min(outcome.entry.seed for outcome, _ in trials)
    tried = [outcome for outcome, _ in trials if outcome.entry.seed == first]
    best = min(tried, key=lambda outcome: outcome.bpb).entry
    counted = [
        (outcome, optim)
        for outcome, optim in trials
        if (outcome.entry.factor, outcome.entry.steps) == (best.factor, best.steps)
    ]
    seeds = {str(outcome.entry.seed): outcome.bpb for outcome, _ in counted}
    outcome, optim = counted[0]
    return {
        "bpb": statistics.mean(seeds.values()),
        "lowest": min(seeds.values()),
        "highest": max(seeds.values()),
        "seeds": seeds,
        "factor": best.factor,
        "factors_tried": sorted(outcome.entry.factor for outcome in tried),
        "tokens": outcome.tokens,
        "params": outcome.params,
        "non_embedding": outcome.non_embedding,
        "flops_per_token": outcome.flops_per_token,
        "optim": optim,
    }


def _check(first: Mapping[str, Any], other: Mapping[str, Any], file: Path) -> None:
    """Terms are equal; of the optimiser's options those that both know.

    Raises:
        UserError: they are not.
    """
    shared = [name for name in first if name not in OWN_TERMS]
    same = first["optim"].keys() & other["optim"].keys()
    if any(first[name] != other.get(name) for name in shared) or any(
        first["optim"][name] != other["optim"][name] for name in same
    ):
        raise UserError(f"{file} was trained on other terms than the rest. Move it away.")
