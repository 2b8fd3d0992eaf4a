"""What remains of a run in one block of text and one JSON file."""

import json
import math
import time
from typing import Any

import torch

from boggers.train.epoch_records import held_out_contrast
from boggers.train.observers import FitResult
from boggers.train.prepare import Prepared
from boggers.train.tables import Cell
from boggers.version import __version__


def baseline_block(
    prepared: Prepared, result: FitResult, epoch: dict[str, Cell], samples: list[str]
) -> str:
    """The closing summary: what was run, how it ended, what it says.

    Args:
        prepared: the run.
        result: how it ended.
        epoch: its last epoch's row, if one was finished.
        samples: texts that it wrote.
    """
    config, validation = prepared.config, result.validation
    weights = config.loss.weights
    lines: list[tuple[str, object]] = [
        ("time_utc", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())),
        ("version", f"boggers {__version__}, torch {torch.__version__}"),
        ("architecture", config.architecture),
        ("corpus", config.data.corpus),
        ("seed", config.train.seed),
        ("val_fraction", config.data.val_fraction),
        ("effective_val_fraction", f"{prepared.split.effective:.6f}"),
        ("loss_mode", config.loss.loss_mode),
        ("token_aux_ce", weights.token),
        ("context", prepared.split.window),
        ("num_dynamics_steps", config.model.num_dynamics_steps),
        ("epochs", f"{result.epoch} of {config.train.max_epochs}"),
        ("steps", f"{result.step} of {result.total_steps}"),
        ("tokens", result.tokens),
        ("epoch_sec", epoch.get("seconds")),
        ("train_sec_total", f"{result.seconds:.1f}"),
        ("mean_loss", epoch.get("mean_loss")),
        ("train_CE", epoch.get("train_ce")),
        ("val_CE", None if validation is None else validation.ce),
        ("val_bits_per_byte", None if validation is None else validation.bits_per_byte),
        ("train_traj_contrast", epoch.get("train_traj_contrast")),
        ("val_traj_contrast", epoch.get("val_traj_contrast")),
    ]
    known = [(name, value) for name, value in lines if value is not None]
    head = "\n".join(f"{name:<24}{value}" for name, value in known)
    texts = "\n".join(f"sample {n}: {json.dumps(text)}" for n, text in enumerate(samples, start=1))
    return f"{head}\n{texts}\n" if texts else f"{head}\n"


def evaluation_json(prepared: Prepared, result: FitResult) -> dict[str, Any]:
    """The final held-out numbers, all plain, the checkpoint, and the settings that matter most.

    A number that was not measured is null.
    """
    config, validation = prepared.config, result.validation
    measured = validation is not None
    return {
        "base": {
            "val_ce": validation.ce if validation else None,
            "val_ppl": math.exp(min(validation.ce, 700.0)) if validation else None,
            "val_bpb": validation.bits_per_byte if validation else None,
            "val_traj_contrast": held_out_contrast(prepared, prepared.split.held_out)
            if measured
            else None,
            "val_windows": prepared.split.held_out_windows,
            "val_metrics_reliable": measured and prepared.split.reliable,
        },
        "checkpoint": None if result.checkpoint is None else str(result.checkpoint),
        "config": {
            "architecture": config.architecture,
            "corpus_path": config.data.corpus,
            "tokenizer": config.text.tokenizer,
            "vocab_cap": config.text.vocab_cap,
            "window_size": prepared.split.window,
            "max_epochs": config.train.max_epochs,
            "val_fraction": config.data.val_fraction,
            "loss_mode": config.loss.loss_mode,
            "seed": config.train.seed,
        },
    }
