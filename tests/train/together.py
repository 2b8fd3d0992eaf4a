"""One of the processes that train the run of a configuration file: `together.py CONFIG`."""

import json
import sys
from pathlib import Path

import torch

from boggers.parallel import join, leave
from boggers.train.loop import fit
from boggers.train.prepare import prepare
from boggers.train.run import RunConfig


def main() -> None:
    torch.set_num_threads(1)
    config = RunConfig.from_json(json.loads(Path(sys.argv[1]).read_text()))
    world = join()
    prepared = prepare(config, world=world)
    fit(prepared, validate=prepared.validate)
    leave(world)


main()
