"""A checkpoint: a folder, whole or absent, from which a run continues bit for bit.

    step-0000123/
        model.safetensors · model.json · optimizer.safetensors · state.json · manifest.json
        and average.safetensors where a running average is kept, carried.safetensors where a step
        goes on from what the one before left, memory.safetensors, graph.json and beat.safetensors
        where tokens are remembered and a graph is driven

The random numbers of a step are a pure function of the seed and the step (see `train.learner`), so
no generator state has to be restored; `random_state` in state.json is a witness of the last one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from boggers.errors import UserError
from boggers.files import read_json, verify_folder, write_folder, write_json
from boggers.model.architectures import Model, architecture_of
from boggers.model.sharded import (
    AVERAGED,
    MOMENT,
    fill_from_shards,
    is_sharded,
    named_shapes,
    read_shards,
)
from boggers.model.weights import AVERAGE, SHAPE, WEIGHTS, fill_model, save_model
from boggers.train.average import WeightAverage
from boggers.train.coupling import Coupling
from boggers.train.optim import Optimizer
from boggers.train.step_folders import is_whole, prune, step_folder, sweep
from boggers.train.typed_json import differences, from_json, to_json
from boggers.version import __version__

_OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
CARRIED = "carried.safetensors"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a run must still have in common with a checkpoint to continue it exactly."""

    tokenizer: str
    """Fingerprint of the tokenizer."""

    corpus: str
    """Content key of the tokenised corpus."""

    train_tokens: int
    """Length of the training part of the split."""

    window: int
    """Tokens of a window or a sequence."""

    windows_per_step: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands between two optimiser steps."""

    step: int = 0
    """Optimiser steps taken, skipped ones included."""

    epoch: int = 0
    """Epochs finished."""

    batch: int = 0
    """Batches of the epoch in progress that have been used."""

    tokens: int = 0
    """Tokens predicted in training so far."""

    seconds: float = 0.0
    """Wall-clock time spent so far, measurements and saving included."""

    best_ce: float | None = None
    """Lowest held-out cross-entropy so far, in nats."""

    best_step: int | None = None
    """The step of that."""

    skipped: int = 0
    """Steps that changed nothing because their loss or gradient was not finite."""

    skipped_in_a_row: int = 0
    """How many of these were the last ones."""

    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the measurements since the last row of metrics.csv."""

    random_state: str = ""
    """SHA-256 of the random generator's state after the last step."""

    lr: float = 0.0
    """The learning rate that the last step was taken with."""

    owes: bool = False
    """Whether a signal came before the held-out text, whose turn it was after the last step, had
    been measured; then that is what comes next."""

    @property
    def recorded(self) -> int:
        """The last step of which all was recorded."""
        return self.step - 1 if self.owes else self.step


def save(
    checkpoints: Path,
    model: Model,
    optimizer: Optimizer,
    progress: Progress,
    origin: Origin,
    keep: int,
    average: WeightAverage | None = None,
    carried: Mapping[str, Tensor] | None = None,
    coupling: Coupling | None = None,
) -> Path:
    """Write the checkpoint of `progress.step`, then remove those no longer kept.

    The `keep` newest remain, and the best one by held-out cross-entropy. Nothing is removed
    before the new one is whole.

    Raises:
        UserError: it cannot be written, for instance because the disk is full; every earlier
            checkpoint remains.
    """
    sweep(checkpoints)
    target = step_folder(checkpoints, progress.step)

    def fill(folder: Path) -> None:
        save_model(model, folder)
        save_file(slots(model, optimizer), folder / _OPTIMIZER)
        if average is not None:
            # What is not learned has no average, but a model is loaded from this file alone.
            save_file({**model.state_dict(), **average.tensors()}, folder / AVERAGE)
        if carried:
            save_carried(carried, folder)
        if coupling is not None:
            coupling.save(folder)
        write_json(folder / STATE, state(progress, origin))

    if not is_saved(target, progress):
        try:
            write_folder(target, fill)
        except SafetensorError as error:
            raise UserError(
                f"{target} could not be written: {error}. Nothing saved earlier was touched."
            ) from error
    prune(checkpoints, step=progress.step, best=progress.best_step, keep=keep)
    return target


def is_saved(target: Path, progress: Progress) -> bool:
    """Whether a checkpoint holds this progress; one that owes a measurement made since does not."""
    if not is_whole(target):
        return False
    return bool(read_json(target / STATE)["progress"].get("owes", False)) == progress.owes


def state(progress: Progress, origin: Origin) -> dict[str, Any]:
    """What state.json holds."""
    return {
        "progress": to_json(progress),
        "origin": to_json(origin),
        "boggers": __version__,
        "torch": str(torch.__version__),
    }


def load(
    folder: Path,
    model: Model,
    optimizer: Optimizer,
    origin: Origin,
    average: WeightAverage | None = None,
    coupling: Coupling | None = None,
) -> Progress:
    """Put a checkpoint's weights and moments into `model` and `optimizer`; say where it stood.

    An average that was not kept before begins with the weights of the checkpoint.

    The learning rate and every other setting of the optimiser stay as configured now.

    Raises:
        UserError: the checkpoint is damaged, of another model, or of another run's data; nothing
            has been changed then.
    """
    verify_folder(folder)
    kept = read_json(folder / STATE)
    saved = from_json(Origin, kept["origin"], "origin")
    _require_same_origin(folder, saved, origin)
    _require_same_architecture(folder, architecture_of(model.config))
    if is_sharded(folder):
        _load_shards(folder, model, optimizer, average)
    else:
        _load_whole(folder, model, optimizer, average)
    if coupling is not None:
        coupling.load(folder)
    return from_json(Progress, kept["progress"], "progress")


def _load_whole(
    folder: Path, model: Model, optimizer: Optimizer, average: WeightAverage | None
) -> None:
    moments = load_file(folder / _OPTIMIZER)
    fill_model(model, folder / WEIGHTS)
    parameters = dict(model.named_parameters())
    optimizer.state.clear()
    for name, slot, parameter in _named_slots(parameters, moments):
        optimizer.state[parameter][slot] = moments[f"{name}.{slot}"].to(parameter.device)
    if average is not None:
        kept = folder / AVERAGE
        average.restore(load_file(kept) if kept.is_file() else dict(parameters))


def _load_shards(
    folder: Path, model: Model, optimizer: Optimizer, average: WeightAverage | None
) -> None:
    shapes = named_shapes(folder)
    fill_from_shards(model, folder, last=True)
    parameters = dict(model.named_parameters())
    moments = [name.removeprefix(MOMENT) for name in shapes if name.startswith(MOMENT)]
    optimizer.state.clear()
    into: dict[str, Tensor] = {}
    for name, slot, parameter in _named_slots(parameters, moments):
        empty = torch.zeros((), device=parameter.device)
        value = empty if slot == "step" else torch.zeros_like(parameter).detach()
        optimizer.state[parameter][slot] = into[f"{MOMENT}{name}.{slot}"] = value
    if average is not None:
        kept = any(name.startswith(AVERAGED) for name in shapes)
        average.restore(dict(parameters))
        into |= {f"{AVERAGED}{n}": a for n, a in average.tensors().items()} if kept else {}
    read_shards(folder, into)


def save_carried(carried: Mapping[str, Tensor], folder: Path) -> None:
    """Keep what the last step left for the next one."""
    save_file({name: value.contiguous() for name, value in carried.items()}, folder / CARRIED)


def load_carried(folder: Path, device: torch.device) -> dict[str, Tensor]:
    """What the last step before a checkpoint left to go on from; empty if nothing."""
    path = folder / CARRIED
    found = load_file(path) if path.is_file() else {}
    return {name: value.to(device) for name, value in found.items()}


def slots(model: Model, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors by `PARAMETER.SLOT`."""
    return {
        f"{name}.{slot}": value.detach().contiguous()
        for name, parameter in model.named_parameters()
        for slot, value in optimizer.state.get(parameter, {}).items()
    }


def _named_slots(
    parameters: Mapping[str, Tensor], names: Iterable[str]
) -> Iterator[tuple[str, str, Tensor]]:
    """Of every `PARAMETER.SLOT` the two and the parameter."""
    for key in names:
        name, slot = key.rsplit(".", 1)
        yield name, slot, parameters[name]


def _require_same_origin(folder: Path, saved: Origin, now: Origin) -> None:
    if saved.tokenizer != now.tokenizer:
        raise UserError(
            f"{folder} was trained with another tokenizer (fingerprint {saved.tokenizer[:12]}, "
            f"this one has {now.tokenizer[:12]}), so its token ids mean other texts. "
            "Use the tokenizer that is saved in its run folder."
        )
    others = differences(saved, now)
    if others:
        raise UserError(
            f"{folder} can only be continued on the data it began with: {others}. "
            "Give the same values, or start a new run with another --out."
        )


def _require_same_architecture(folder: Path, wanted: str) -> None:
    found = read_json(folder / SHAPE).get("architecture")
    if found != wanted:
        raise UserError(
            f"{folder} holds a model of the architecture {found!r}, this run's is "
            f"{wanted!r}. Give that --architecture, or start a new run."
        )
