"""What a long corpus costs: memory while it is cut and trained on, time to begin when it is kept.

    python benchmarks/corpus_memory.py --gigabytes 2

Writes a generated text, then in fresh processes: cuts it into bytes and takes a few steps; begins
again on what is kept. Says the most memory that each process, and its children, ever had.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from boggers.data.synthetic import stories

STEPS = 300


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary one if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write(folder / "corpus.txt", int(options.gigabytes * 1e9))
        for what in ("first", "kept", "kept"):
            print(what, json.dumps(measured(folder, what)), flush=True)


def write(file: Path, n_bytes: int) -> None:
    """A text of about so many bytes, no two documents of it alike."""
    blocks = ["\n<|endoftext|>\n".join(stories(200_000, seed)).encode("utf-8") for seed in range(8)]
    written = 0
    with file.open("wb") as out:
        while written < n_bytes:
            number = written // len(blocks[0])
            written += out.write(f"\n<|endoftext|>\nVolume {number}.\n".encode())
            written += out.write(blocks[number % len(blocks)])
    time.sleep(3)  # until the file counts as left alone
    print(f"text of {written / 1e9:.2f} GB", flush=True)


def measured(folder: Path, what: str) -> dict[str, float]:
    """Run one training in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(folder), what],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(folder: Path, what: str) -> None:
    """Prepare a run, take some steps, and print what it took as JSON."""
    started = time.perf_counter()
    from boggers.data.config import DataConfig
    from boggers.model.window import WindowConfig
    from boggers.text.config import TextConfig
    from boggers.train.prepare import prepare
    from boggers.train.run import RunConfig, TrainConfig

    imported = time.perf_counter()
    config = RunConfig(
        model=WindowConfig(state_dim=32, num_waves=2),
        text=TextConfig(tokenizer="byte"),
        data=DataConfig(
            corpus=str(folder / "corpus.txt"), cache_dir=folder / "cache", val_fraction=1e-4
        ),
        train=TrainConfig(
            out=folder / f"run-{time.time_ns()}", device="cpu", max_steps=STEPS, batch_size=256
        ),
    )
    prepared = prepare(config)
    begun = time.perf_counter()
    from boggers.train.loop import fit

    result = fit(prepared, validate=prepared.validate)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(
        json.dumps(
            {
                "tokens": len(prepared.corpus.ids),
                "import_seconds": round(imported - started, 2),
                "prepare_seconds": round(begun - imported, 2),
                "steps": result.step,
                "train_seconds": round(time.perf_counter() - begun, 2),
                "peak_gigabytes": round(own, 3),
                "peak_gigabytes_of_a_worker": round(others, 3),
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
