"""One option, several values, the same seeds: what the option is worth, as paired differences."""

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.evals.bootstrap import Interval, of_repetitions
from boggers.evals.figures import plain
from boggers.evals.report import Report
from boggers.files import write_json, write_text
from boggers.train.run import RunConfig

RESULTS, TABLE = "sweep.json", "sweep.csv"

Train = Callable[[RunConfig, str], Report]
"""Trains a run, or finds it trained, and measures it; hears its name."""


@dataclass(frozen=True)
class Trial:
    """One training: a value of the option, a seed, and what came of them."""

    value: str
    seed: int
    bpb: float
    ce: float
    params: int
    steps: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Variant:
    """A value of the option over all seeds.

    Attributes:
        value: as it was given.
        trials: one a seed, in the order of the seeds.
        mean: bits per byte, with Student's t interval over seeds.
        difference: to the first value, seed by seed; below 0 this value is better. None for the
            first value itself.
    """

    value: str
    trials: list[Trial]
    mean: Interval
    difference: Interval | None


@dataclass(frozen=True)
class Sweep:
    """What a sweep came to."""

    option: str
    seeds: list[int]
    variants: list[Variant]

    def verdict(self) -> list[str]:
        """A sentence for every value but the first."""
        first = self.variants[0].value
        sentences = []
        for variant in self.variants[1:]:
            found = variant.difference
            assert found is not None
            name = f"{self.option}={variant.value} against {first}"
            if len(self.seeds) == 1:
                sentences.append(
                    f"{name}: {found.value:+.4f} bits per byte with one seed, which says nothing "
                    "of chance. Give more --seeds."
                )
                continue
            sure = "better" if found.high < 0 else "worse" if found.low > 0 else "no difference"
            sentences.append(
                f"{name}: {found.value:+.4f} bits per byte (95 %: {found.low:+.4f} to "
                f"{found.high:+.4f}, {len(self.seeds)} seeds): {sure}."
            )
        return sentences


def sweep(
    option: str,
    configs: Sequence[tuple[str, RunConfig]],
    seeds: Sequence[int],
    folder: Path,
    train: Train,
) -> Sweep:
    """Train every value with every seed and compare with the first value.

    The same seed begins from the same weights wherever their shapes are the same, and meets the
    same text in the same order, so differences are taken seed by seed.

    Args:
        option: its name.
        configs: values of the option and the runs that they make; the first is compared with.
        seeds: each trains every value once.
        folder: where runs, sweep.json and sweep.csv go.
        train: trains and measures.

    Raises:
        UserError: fewer than two values, or a value or a seed twice.
    """
    values = [value for value, _ in configs]
    if len(values) < 2 or len(set(values)) < len(values):
        raise UserError(
            f"--vary needs at least two different values, such as {option}=A,B; "
            f"{', '.join(values) or 'nothing'} came."
        )
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds must be different numbers; {list(seeds)} came.")
    trials: dict[str, list[Trial]] = {value: [] for value in values}
    for seed in seeds:
        for value, config in configs:
            name = f"{option}={value}, seed {seed}"
            out = folder / f"{option}-{_safe(value)}" / f"seed-{seed}"
            settings = dataclasses.replace(config.train, seed=seed, out=out, resume="auto")
            report = train(dataclasses.replace(config, train=settings), name)
            trials[value].append(_trial(value, seed, report))
    found = Sweep(option, list(seeds), _variants(values, trials))
    write_json(folder / RESULTS, plain(found))
    write_text(folder / TABLE, _csv(found))
    return found


def _trial(value: str, seed: int, report: Report) -> Trial:
    return Trial(
        value=value,
        seed=seed,
        bpb=report.val_bpb,
        ce=report.val_ce,
        params=report.params,
        steps=report.steps,
        tokens=report.train_tokens,
        seconds=report.seconds,
    )


def _variants(values: Sequence[str], trials: dict[str, list[Trial]]) -> list[Variant]:
    base = trials[values[0]]
    variants = []
    for value in values:
        own = trials[value]
        apart = [mine.bpb - its.bpb for mine, its in zip(own, base, strict=True)]
        variants.append(
            Variant(
                value=value,
                trials=own,
                mean=of_repetitions([trial.bpb for trial in own]),
                difference=None if value == values[0] else of_repetitions(apart),
            )
        )
    return variants


def _csv(found: Sweep) -> str:
    text = io.StringIO()
    rows: list[dict[str, Any]] = [
        dataclasses.asdict(trial) for variant in found.variants for trial in variant.trials
    ]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _safe(value: str) -> str:
    """A value as part of a file's name."""
    return "".join(c if c.isalnum() or c in ".-_" else "_" for c in value)
