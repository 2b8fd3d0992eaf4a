"""TensorBoard and Weights & Biases: every row of metrics.csv, as scalars, where others look."""

import dataclasses
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.train.observers import EpochEvent, EvalEvent, FitResult, StepEvent


class TensorBoard:
    """Writes events into the folder `tensorboard` of a run.

    Raises:
        UserError: the extra is not installed.
    """

    def __init__(self, folder: Path) -> None:
        _require("tensorboard", "--tensorboard")
        module = importlib.import_module("torch.utils.tensorboard")
        self.writer: Any = module.SummaryWriter(log_dir=str(folder / "tensorboard"))

    def on_step(self, event: StepEvent) -> None:
        """Write the row that this step completed, if it did."""
        for name, value in _scalars(event).items():
            self.writer.add_scalar(name, value, event.step)

    def on_eval(self, event: EvalEvent) -> None:
        """The row of the same step has it."""

    def on_epoch(self, event: EpochEvent) -> None:
        """Make the events visible."""
        self.writer.flush()

    def on_end(self, result: FitResult) -> None:
        """Close the file."""
        self.writer.close()


class WeightsAndBiases:
    """Sends rows to a project; whoever runs it is logged in already, or works offline.

    Args:
        project: its name there.
        folder: of the run; its name is the run's name, and local files go there.
        config: everything that defines the run.

    Raises:
        UserError: the extra is not installed.
    """

    def __init__(self, project: str, folder: Path, config: dict[str, Any]) -> None:
        _require("wandb", "--wandb-project")
        wandb: Any = importlib.import_module("wandb")
        self.run: Any = wandb.init(
            project=project, name=folder.name, dir=str(folder), config=config, resume="allow"
        )

    def on_step(self, event: StepEvent) -> None:
        """Send the row that this step completed, if it did."""
        if scalars := _scalars(event):
            self.run.log(scalars, step=event.step)

    def on_eval(self, event: EvalEvent) -> None:
        """The row of the same step has it."""

    def on_epoch(self, event: EpochEvent) -> None:
        """Rows are sent as they come."""

    def on_end(self, result: FitResult) -> None:
        """Finish the run there."""
        self.run.finish()


def _scalars(event: StepEvent) -> dict[str, float]:
    """The numbers of a row by name; words and what was not measured are left out."""
    if event.row is None:
        return {}
    return {
        name: float(value)
        for name, value in dataclasses.asdict(event.row).items()
        if isinstance(value, int | float) and name != "step"
    }


def _require(package: str, flag: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"{flag} needs the package {package}, which is not installed. Install it with: "
            f"pip install 'boggers[{package}]'"
        )
