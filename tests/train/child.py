"""Trains the run of a configuration file and dies by a signal: `child.py CONFIG MOMENT STEP`.

MOMENT is `step` (after an optimiser step, before anything of it is saved) or `saving` (half way
through writing the first checkpoint at or after STEP).
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from boggers import files
from boggers.train.loop import fit
from boggers.train.observers import EpochEvent, EvalEvent, FitResult, StepEvent
from boggers.train.prepare import prepare
from boggers.train.run import RunConfig


class Killer:
    def __init__(self, moment: str, step: int) -> None:
        self.moment = moment
        self.step = step

    def on_step(self, event: StepEvent) -> None:
        if event.step != self.step:
            return
        if self.moment == "step":
            os.kill(os.getpid(), signal.SIGKILL)

        def die(folder: Path) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        files._checksums = die  # type: ignore[assignment]

    def on_eval(self, event: EvalEvent) -> None: ...
    def on_epoch(self, event: EpochEvent) -> None: ...
    def on_end(self, result: FitResult) -> None: ...


def main() -> None:
    torch.set_num_threads(1)
    path, moment, step = sys.argv[1:]
    config = RunConfig.from_json(json.loads(Path(path).read_text()))
    prepared = prepare(config)
    fit(prepared, [Killer(moment, int(step))], prepared.validate)


main()
