"""Several processes of one run, as torchrun would start them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boggers.train.metrics import read_metrics

WAIT = 120.0
"""Seconds after which a test gives up."""


@contextmanager
def started(arguments: Sequence[str], size: int = 2) -> Iterator[list[subprocess.Popen[str]]]:
    """`python ARGUMENTS` in `size` processes that form a world; what is left of them is ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | world | {"RANK": str(r), "LOCAL_RANK": str(r), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for r in range(size)
    ]
    try:
        yield running
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.communicate()


def ended(running: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """How each process ended: its status, and what it said on standard error."""
    said = [process.communicate(timeout=WAIT)[1] for process in running]
    return [(process.returncode, text) for process, text in zip(running, said, strict=True)]


def reached(metrics: Path, step: int) -> int:
    """Wait until the run has written the measurements of a step; the last step written."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        rows = read_metrics(metrics) if metrics.is_file() else []
        if rows and int(rows[-1]["step"]) >= step:
            return int(rows[-1]["step"])
        time.sleep(0.05)
    raise AssertionError(f"{metrics} did not reach step {step}")
