"""How long one training step takes, beside the two parts of it that no design can avoid.

The step is the one that training takes: forward, settle, backward, clip, guarded AdamW. Beside it
stand the three matrix products of the readout (forward, and the two of its backward) and the
fused optimiser alone, on the same shapes. All parts are timed in turn, round by round, so that a
busy machine slows them alike; medians and ratios are what to read.

    python benchmarks/step_time.py --reference-ms 400
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import torch
import tyro

from boggers.data.windows import Batch
from boggers.machine import keep_memory
from boggers.model.original import PHYSICS
from boggers.model.window import WindowConfig, WindowModel
from boggers.train.loss_config import LossConfig
from boggers.train.objective import objective
from boggers.train.optim import OptimConfig, guarded_step, make_optimizer

WARM_UP = 3


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is timed; the defaults are the original's A1 shape."""

    window: int = 8
    """Tokens of context W."""
    width: int = 128
    """State width D."""
    waves: int = 4
    """Waves N."""
    vocabulary: int = 8192
    """Vocabulary V."""
    batch: int = 64
    """Windows a step, B."""
    steps: tuple[int, ...] = (32, 16)
    """Relaxation steps K, each timed."""
    memory: int = 128
    """Patterns M of the variant with a memory."""
    rounds: int = 15
    """How often everything is timed."""
    threads: int | None = None
    """Threads of torch; None = its own choice."""
    reference_ms: float | None = None
    """A time to divide by the step's, for example another program's step at this shape."""


@dataclass(frozen=True)
class Part:
    """A name, the work, and the times it took so far."""

    name: str
    work: Callable[[], object]
    seconds: list[float]

    def run(self) -> None:
        """Do the work once more and note how long it took."""
        begun = time.perf_counter()
        self.work()
        self.seconds.append(time.perf_counter() - begun)


def main() -> None:
    """Time every part in turn and print medians."""
    shape = tyro.cli(Shape, description=__doc__)
    keep_memory()
    if shape.threads is not None:
        torch.set_num_threads(shape.threads)
    parts = [Part("readout products alone", readout_products(shape), [])]
    parts += [Part("optimiser alone", optimiser_alone(shape), [])]
    for steps in shape.steps:
        parts += [
            Part(f"step, K={steps}", training_step(shape, steps, "ce"), []),
            Part(f"step, K={steps}, path contrast", training_step(shape, steps, "trajectory"), []),
            Part(f"step, K={steps}, memory", training_step(shape, steps, "ce", memory=True), []),
        ]
    for part in parts:
        for _ in range(WARM_UP):
            part.work()
    for _ in range(shape.rounds):
        for part in parts:
            part.run()
    print_table(parts, shape)


def training_step(
    shape: Shape, steps: int, loss_mode: Literal["ce", "trajectory"], *, memory: bool = False
) -> Callable[[], object]:
    """A whole step: the original's physics with breaks, or a memory and a coupling per wave."""
    physics = dict(PHYSICS, num_dynamics_steps=steps)
    if memory:
        physics |= {"wave_energy": False, "breaks": False, "wave_coupling": True}
        physics["memory_patterns"] = shape.memory
    model, batch, config = built(shape, physics), windows(shape), LossConfig(loss_mode=loss_mode)
    optimizer = make_optimizer(model, OptimConfig())
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        loss = objective(model, batch, config, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        guarded_step(optimizer, loss.total, 1e-3, 1.0)

    return step


def readout_products(shape: Shape) -> Callable[[], object]:
    """states·Rᵀ, then the gradients of both factors."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(shape.batch, shape.window * shape.width, generator=generator)
    weight = torch.randn(shape.vocabulary, shape.window * shape.width, generator=generator)
    slope = torch.randn(shape.batch, shape.vocabulary, generator=generator)

    def products() -> None:
        inputs @ weight.t()
        slope @ weight
        slope.t() @ inputs

    return products


def optimiser_alone(shape: Shape) -> Callable[[], object]:
    """One fused AdamW update of the model's parameters with gradients at hand."""
    model = built(shape, PHYSICS)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    return make_optimizer(model, OptimConfig()).step


def built(shape: Shape, physics: dict[str, Any]) -> WindowModel:
    """The model in training mode."""
    config = WindowConfig(
        state_dim=shape.width, num_waves=shape.waves, window_size=shape.window, **physics
    )
    return WindowModel(config, shape.vocabulary, torch.Generator().manual_seed(0)).train()


def windows(shape: Shape) -> Batch:
    """One batch of random tokens."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(shape.vocabulary, (shape.batch, shape.window + 1), generator=generator)
    return Batch(ids[:, :-1].contiguous(), ids[:, -1].contiguous())


def print_table(parts: list[Part], shape: Shape) -> None:
    """Medians in milliseconds, with the fastest and the slowest round, and the ratio asked for."""
    unavoidable = sum(median(part.seconds) for part in parts[:2])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {shape}")
    print(f"{'':<30}{'median':>9}{'fastest':>9}{'slowest':>9}{'÷ parts':>9}  ms")
    for part in parts:
        low, middle, high = min(part.seconds), median(part.seconds), max(part.seconds)
        line = f"{part.name:<30}{middle * 1e3:>9.1f}{low * 1e3:>9.1f}{high * 1e3:>9.1f}"
        line += f"{middle / unavoidable:>9.2f}"
        if shape.reference_ms is not None:
            line += f"  {shape.reference_ms / 1e3 / middle:.1f} times faster than the reference"
        print(line)


if __name__ == "__main__":
    main()
