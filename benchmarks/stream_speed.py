"""How fast a stream is: training beside a Llama of equal size, long texts, decoding far into one.

    python benchmarks/stream_speed.py [--threads N] [--rounds R]

Everything that is compared is timed in turn, round by round, in this one process; the figures are
medians. Times in milliseconds are of this machine and this moment: only their ratios mean
something.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from boggers.evals.contest import Budget, size_of
from boggers.evals.controls import Stream
from boggers.evals.peers import Llama
from boggers.machine import keep_memory
from boggers.model.stream import StreamModel
from boggers.recipes import stream_small
from boggers.train.optim import guarded_step, make_optimizer

VOCABULARY, ROWS, LENGTH = 2048, 8, 256
LONG = (256, 1024, 4096, 16_384)
NEAR, FAR = 100, 100_000
DECODED = 64


def medians(parts: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each part, all of them timed in turn."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name, part in parts.items():
            began = time.perf_counter()
            part()
            if number > 0:  # the first round warms up
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def draw(rows: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(VOCABULARY, (rows, length), generator=generator)


def training_step(model: nn.Module) -> Callable[[], object]:
    """One optimiser step on 2,048 tokens."""
    optimizer = make_optimizer(model.train(), stream_small().optim)
    tokens = draw(ROWS, LENGTH + 1)

    def step() -> None:
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        guarded_step(optimizer, loss, 1e-4, 1.0)

    return step


def passes(model: nn.Module, length: int) -> Callable[[], object]:
    """Forward and backward through 16,384 tokens, in rows of a length."""
    tokens = draw(LONG[-1] // length, length)

    def run() -> None:
        model.zero_grad(set_to_none=True)
        logits = model(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        loss.backward()  # type: ignore[no-untyped-call]

    return run


def decoding(model: StreamModel, position: int) -> Callable[[], object]:
    """So many single tokens, beginning at a position of one text."""
    with torch.no_grad():
        state = model.start(1)
        for part in torch.split(draw(1, position), 4096, dim=1):
            _, state = model.prefill(part, state)
    token = torch.tensor([7])

    def run() -> None:
        with torch.no_grad():
            now = state
            for _ in range(DECODED):
                _, now = model.step(token, now)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_memory()
    budget = Budget(vocab_size=VOCABULARY, sequence_length=LONG[-1], non_embedding=1_000_000)
    ours, llama = (build(budget, torch.Generator().manual_seed(0)) for build in (Stream, Llama))
    for name, model in (("stream", ours), ("llama", llama)):
        print(f"{name}: {size_of(model).non_embedding:,} parameters besides the table")

    print(f"\nTraining step, {ROWS} sequences of {LENGTH} tokens, {options.threads} threads")
    steps = {"stream": training_step(ours), "llama": training_step(llama)}
    found = medians(steps, options.rounds)
    for name, taken in found.items():
        print(f"  {name:8}{taken:8.1f} ms  {1e3 * ROWS * LENGTH / taken:8,.0f} tokens/s")
    print(f"  stream trains at {found['llama'] / found['stream']:.2f} times the llama's speed")

    print(f"\nForward and backward of {LONG[-1]:,} tokens in rows of T, against T = {LONG[0]}")
    ours.train()
    # The llama's longest rows take minutes; its growth shows in few rounds.
    for name, model, rounds in (("stream", ours, options.rounds), ("llama", llama, 2)):
        found = medians({str(t): passes(model, t) for t in LONG}, rounds)
        shown = "  ".join(f"{t}: {found[str(t)] / found[str(LONG[0])]:.2f}" for t in LONG)
        print(f"  {name:8}{shown}")

    print(f"\nDecoding {DECODED} tokens of one text, by position")
    stream = ours.model
    assert isinstance(stream, StreamModel)
    stream.eval()
    found = medians(
        {f"{p:,}": decoding(stream, p) for p in (NEAR, FAR)}, max(15, 3 * options.rounds)
    )
    for position, taken in found.items():
        print(f"  {position:>8}{taken / DECODED:8.3f} ms a token")
    print(f"  far against near: {found[f'{FAR:,}'] / found[f'{NEAR:,}']:.3f}")
    print(f"  state of one text: {stream.start(1).bytes_per_row:,} bytes, wherever it stands")


if __name__ == "__main__":
    main()
