"""A run: everything that defines it, and the folder that holds what it makes.

runs/NAME/  config.json · tokenizer/ · data.json · checkpoints/step-0000123/ · metrics.csv
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from boggers.data.config import DataConfig
from boggers.errors import UserError
from boggers.files import read_json, write_json
from boggers.model.architectures import CONFIGS, Architecture, ModelConfig, architecture_of, named
from boggers.model.window import WindowConfig
from boggers.text.config import TextConfig
from boggers.train.graph_config import GraphConfig
from boggers.train.loss_config import LossConfig
from boggers.train.optim import OptimConfig
from boggers.train.precision import Precision
from boggers.train.record_config import RecordConfig
from boggers.train.share_config import ParallelConfig
from boggers.train.typed_json import from_json, to_json


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, where and how often: the loop itself."""

    out: Path | None = None
    """Folder of the run; `runs/` and a name made of the architecture and the time if left out."""

    seed: int = 42
    """Fixes the initial weights, the order of the windows and every random draw; at least 0."""

    max_steps: int | None = None
    """Optimiser steps in all, over as many epochs as that takes; overrides the epochs."""

    max_epochs: Annotated[int, tyro.conf.arg(aliases=("--epochs",))] = 3
    """Passes over the training text in all, at least 1."""

    batch_size: Annotated[int, tyro.conf.arg(aliases=("--trajectory-batch-size",))] = 64
    """Windows, or sequences of a stream, per optimiser step, over all processes; at least 1."""

    batch_tokens: int | None = None
    """Predicted tokens per optimiser step, over all processes; overrides the batch size. A window
    predicts one token, a sequence as many as it is long."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    precision: Precision = "auto"
    """Numbers in which training multiplies: bf16 keeps weights, sums and losses in fp32; auto is
    bf16 on CUDA and fp32 elsewhere."""

    ema_decay: float | None = None
    """Keep a running average of the weights with this decay a step, in (0, 1); it is then what is
    measured and used. No average if left out."""

    log_every: int = 10
    """Steps between rows of metrics.csv, at least 1; each row averages over its steps."""

    eval_every: int | None = None
    """Steps between measurements of the held-out text; after every epoch if left out."""

    eval_tokens: int | None = None
    """How many held-out tokens, the first ones, such a measurement reads; all if left out. Large
    models want less of them on a processor; the report at the end reads all in any case."""

    save_every: int | None = None
    """Steps between checkpoints besides those after every epoch, at a new best held-out value
    and at the end; none if left out or 0."""

    keep_checkpoints: int = 2
    """How many of the newest checkpoints are kept, at least 1; the best one is kept besides."""

    resume: Literal["auto"] | None = None
    """auto: continue from the newest whole checkpoint in `--out`, or begin if there is none."""

    resume_checkpoint: Path | None = None
    """Continue from this checkpoint folder, or from the newest whole one of this run folder."""

    max_skipped_steps: int = 10
    """End the run after so many steps in a row whose loss or gradient was not finite; at least 1.
    Such steps change no weight."""

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--seed", self.seed, 0),
            ("--max-steps", self.max_steps, 1),
            ("--max-epochs", self.max_epochs, 1),
            ("--batch-size", self.batch_size, 1),
            ("--batch-tokens", self.batch_tokens, 1),
            ("--log-every", self.log_every, 1),
            ("--eval-every", self.eval_every, 1),
            ("--eval-tokens", self.eval_tokens, 1),
            ("--save-every", self.save_every, 0),
            ("--keep-checkpoints", self.keep_checkpoints, 1),
            ("--max-skipped-steps", self.max_skipped_steps, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"{flag} must be at least {least}; it is {value}.")
        if self.ema_decay is not None and not 0.0 < self.ema_decay < 1.0:
            raise UserError(f"--ema-decay must be in (0, 1); it is {self.ema_decay}.")
        if self.resume is not None and self.resume_checkpoint is not None:
            raise UserError(
                "--resume auto and --resume-checkpoint both say where to continue; give one."
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that defines a run; saved with it, so that nothing is guessed on loading."""

    architecture: Architecture = "window"
    """How tokens become a state: window settles the last W tokens together; stream settles every
    position of a text, each with a fading past; token follows a text one token at a time with a
    fast and a slow state."""

    model: ModelConfig = field(default_factory=WindowConfig)
    text: TextConfig = field(default_factory=TextConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)

    def __post_init__(self) -> None:
        if architecture_of(self.model) != self.architecture:
            raise UserError(
                f"A run of the architecture {self.architecture} needs the options of that "
                f"architecture; those of {architecture_of(self.model)} came."
            )
        if self.record.per_head_tension and self.tension_heads < 2:
            raise UserError(
                "--phase1-enable-per-head-tension compares heads of windows: give --architecture "
                "window and two or more by --phase1-num-heads."
            )
        if not (self.data.streaming_dataset or isinstance(self.model, WindowConfig)):
            raise UserError(
                f"--no-streaming-dataset cuts windows out of lines; a {self.architecture} reads "
                "on. Leave it out, or use --architecture window."
            )
        if self.model.token_bonus is not None and not self.graph.use_goat_memory:
            raise UserError("--token-bonus does nothing without --use-goat-memory.")
        length = self.tokens_per_row
        if self.train.batch_tokens is not None and self.train.batch_tokens % length:
            raise UserError(
                f"--batch-tokens must be a multiple of --sequence-length {length}; it is "
                f"{self.train.batch_tokens}."
            )

    @property
    def tension_heads(self) -> int:
        """Parts of a window's positions whose tension is recorded apart."""
        if not (self.record.per_head_tension and isinstance(self.model, WindowConfig)):
            return 1
        return self.model.simple_num_heads or 1

    @property
    def tokens_per_row(self) -> int:
        """Tokens that a row of a batch predicts: one a window, T a sequence or a lane."""
        return 1 if isinstance(self.model, WindowConfig) else self.model.sequence_length

    @property
    def rows_per_step(self) -> int:
        """Windows or sequences of one optimiser step."""
        if self.train.batch_tokens is None:
            return self.train.batch_size
        return self.train.batch_tokens // self.tokens_per_row

    def to_json(self) -> dict[str, Any]:
        """The configuration as a JSON object, one table per part."""
        value = to_json(self)
        assert isinstance(value, dict)
        return value

    @classmethod
    def from_json(cls, value: Any) -> "RunConfig":
        """The configuration that a JSON (or TOML) object describes; what it omits is default.

        Raises:
            UserError: an unknown setting, or a value that a setting does not take.
        """
        if not isinstance(value, dict) or "model" not in value:
            return from_json(cls, value)
        kind = CONFIGS[named(str(value.get("architecture", cls.architecture)))]
        model = from_json(kind, value["model"], "model")
        # Read with options of the right kind in place, so that the parts are checked together.
        rest = {name: part for name, part in value.items() if name != "model"}
        return from_json(cls, rest, given={"model": model})


@dataclass(frozen=True)
class Run:
    """The folder of one run."""

    folder: Path

    @property
    def config_file(self) -> Path:
        """The `RunConfig` as JSON."""
        return self.folder / "config.json"

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer that the run's model speaks."""
        return self.folder / "tokenizer"

    @property
    def data_file(self) -> Path:
        """What the model was trained on: corpus, split, tokenizer fingerprint, bytes."""
        return self.folder / "data.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, one folder a step."""
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The table of measurements taken during training."""
        return self.folder / "metrics.csv"

    @property
    def exists(self) -> bool:
        """Whether a run has been started in this folder."""
        return self.config_file.exists() or self.checkpoints.exists()

    def save_config(self, config: RunConfig) -> None:
        """Write `config.json`."""
        write_json(self.config_file, config.to_json())

    def load_config(self) -> RunConfig:
        """Read `config.json`.

        Raises:
            UserError: there is no run in the folder, or its configuration is damaged.
        """
        if not self.config_file.is_file():
            raise UserError(f"{self.folder} holds no run: it has no {self.config_file.name}.")
        return RunConfig.from_json(read_json(self.config_file))


def new_folder(architecture: str) -> Path:
    """Where a run without `--out` goes: runs/ARCHITECTURE-DATE-TIME."""
    return Path("runs") / f"{architecture}-{time.strftime('%Y%m%d-%H%M%S')}"


def choose_device(name: str) -> torch.device:
    """The device that `--device` means.

    Raises:
        UserError: no such kind of device, or this machine has none of it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(
            f"--device must be auto, cpu, cuda, cuda:NUMBER or mps; it is {name!r}."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {name} asks for a CUDA device, but this machine shows "
            f"{torch.cuda.device_count()}. Use --device cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(
            "--device mps asks for a Metal device, but there is none. Use --device cpu."
        )
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"--device must be auto, cpu, cuda, cuda:NUMBER or mps; it is {name!r}.")
    return device
