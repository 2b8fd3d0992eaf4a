"""What a run writes down besides its metrics and checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from boggers.errors import UserError


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """Further records; those that are given no place of their own lie in the run's folder."""

    epoch_metrics_csv: Path | None = None
    """Append a row to this CSV file after every epoch: losses, plain and shaped cross-entropies,
    tension, learning rate."""

    metrics_fast_csv: Path | None = None
    """Append a row after every epoch: mean, variance and range of the settled energies."""

    attractor_steps_metrics_csv: Path | None = None
    """Append a row after every epoch: how many relaxation steps were taken."""

    log_metrics: Annotated[bool, tyro.conf.arg(name="phase05-log-metrics")] = False
    """Write a row of 56 columns for every batch to batches.csv: tensions, lengths, breaks, energies
    of the whole path. Slower, and it waits for the device."""

    batch_metrics_csv: Annotated[Path | None, tyro.conf.arg(name="phase05-batch-metrics-csv")] = (
        None
    )
    """Append those rows to this file instead; implies --phase05-log-metrics."""

    per_head_tension: Annotated[bool, tyro.conf.arg(name="phase1-enable-per-head-tension")] = False
    """Record in them the tension of each head's share of the state; implies the records too."""

    store_break_memory: Annotated[bool, tyro.conf.arg(name="phase2-store-break-memory")] = False
    """Keep the states before and after the latest break of every epoch in breaks.safetensors."""

    hard_batch_loss: Annotated[float | None, tyro.conf.arg(name="log-hard-batch-loss-above")] = None
    """Print and keep in hard-batches.csv every batch whose loss is at least this; 0 = none."""

    epoch_prompt_tokens: int | None = 120
    """Tokens written after every epoch for each of eight fixed prompts, into the folder samples;
    None = no such texts."""

    eval_results_json: Path | None = None
    """Also write the final held-out numbers, the checkpoint and the main settings to this file."""

    baseline_out: Path | None = None
    """Also write the closing summary of the run, baseline.txt, to this file."""

    checkpoint_dir: Path | None = None
    """Keep the checkpoints in this folder; the run's own refers to it."""

    debug: bool = False
    """Print what is built, the first batch of every epoch and the speed of each."""

    quick_test: bool = False
    """Only let two windows settle with fresh weights, say how far they lie apart, and end."""

    tensorboard: bool = False
    """Also write every row of metrics.csv for TensorBoard (extra `tensorboard`)."""

    wandb_project: str | None = None
    """Also send every row of metrics.csv to this Weights & Biases project (extra `wandb`);
    WANDB_MODE=offline keeps it on this machine."""

    def __post_init__(self) -> None:
        if self.epoch_prompt_tokens is not None and self.epoch_prompt_tokens < 1:
            raise UserError(
                "--epoch-prompt-tokens must be at least 1, or None for no texts; it is "
                f"{self.epoch_prompt_tokens}."
            )

    @property
    def by_row(self) -> tuple[str, ...]:
        """Flags of the records that look at every row of a batch."""
        wanted = {
            "--phase05-log-metrics": self.log_metrics,
            "--phase05-batch-metrics-csv": self.batch_metrics_csv,
            "--phase1-enable-per-head-tension": self.per_head_tension,
            "--phase2-store-break-memory": self.store_break_memory,
            "--metrics-fast-csv": self.metrics_fast_csv,
            "--attractor-steps-metrics-csv": self.attractor_steps_metrics_csv,
        }
        return tuple(flag for flag, value in wanted.items() if value)

    @property
    def per_batch(self) -> bool:
        """Whether every batch is recorded."""
        return self.log_metrics or self.batch_metrics_csv is not None or self.per_head_tension
