"""What it costs and what it saves to send the gradient through fewer steps of a stream.

    python benchmarks/gradient_modes.py --corpus FILE [--steps N]

The same small stream of K = 4 steps a stage is trained with gradients through all of them, the
last two and the last one. Printed are the bytes that one training step keeps for its backward
pass, and the held-out bits per byte after the same tokens.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import tyro

from boggers.model.stream import StreamConfig
from boggers.recipes import stream_small
from boggers.train.loop import fit
from boggers.train.objective import objective
from boggers.train.prepare import prepare

MODES = (None, 2, 1)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is trained."""

    corpus: str
    """The text, or sotu."""
    steps: int = 200
    """Optimiser steps of 2,048 tokens."""
    relax_steps: int = 4
    """K."""
    threads: int | None = None
    """Threads of torch; None = its own choice."""


def main() -> None:
    """Train every mode and print a line for each."""
    options = tyro.cli(Options, description=__doc__)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    print(f"K = {options.relax_steps}, {options.steps} steps of 2,048 tokens")
    for last in MODES:
        with TemporaryDirectory() as folder:
            kept, bpb = trained(options, last, Path(folder))
        name = "all steps" if last is None else f"last {last}"
        print(f"  gradient through {name:10} {kept / 1e6:8.1f} MB kept   {bpb:.4f} bits per byte")


def trained(options: Options, last: int | None, folder: Path) -> tuple[int, float]:
    """Bytes kept by a training step, and what the run came to."""
    base = stream_small()
    model = StreamConfig(num_stages=2, num_dynamics_steps=options.relax_steps, gradient_steps=last)
    config = replace(
        base,
        model=model,
        data=replace(base.data, corpus=options.corpus),
        train=replace(base.train, max_steps=options.steps, out=folder / "run", device="cpu"),
    )
    prepared = prepare(config)
    kept = bytes_kept(prepared)
    result = fit(prepared, validate=prepared.validate)
    assert result.validation is not None
    return kept, result.validation.bits_per_byte


def bytes_kept(prepared: Any) -> int:
    """Bytes of all distinct tensors that the forward pass keeps for the backward pass."""
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        noise = torch.Generator().manual_seed(0)
        loss = objective(prepared.model, prepared.batch(0, 0), prepared.config.loss, noise)
        total = sum(storages.values())
        loss.total.backward()  # type: ignore[no-untyped-call]
    prepared.model.zero_grad()
    return total


if __name__ == "__main__":
    main()
