"""Checkpoints of the original system, read into a `WindowModel`.

Only the window path is taken over: the original's token path (wave dynamics, wave interaction,
slow memory, multi-head drift) never took part in its training or generation.
"""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from boggers.errors import UserError
from boggers.model.window import WindowConfig, WindowModel

SCALARS = {
    "position_gamma_raw": "coupling.decay_raw",
    "interaction_scale_raw": "coupling.strength_raw",
    "interaction_dt_raw": "coupling.step_raw",
    "position_asym": "coupling.asymmetry",
    "temperature_raw": "readout.temperature_raw",
}
MATRICES = {
    "embedder.weight": "embedding",
    "readout.weight": "single_state",
    "readout_window.weight": "readout.weight",
    "readout_fusion.weight": "readout.fusion.weight",
    "readout_fusion.bias": "readout.fusion.bias",
    "phase1_window_C": "interaction.matrix",
}
PHYSICS: dict[str, Any] = {
    "num_dynamics_steps": 32,
    "energy_step": 0.09,
    "wave_energy": True,
    "memory_patterns": None,
    "wave_coupling": False,
    "breaks": True,
    "readout": "flat",
    "embedding_dropout": 0.0,
    "readout_dropout": 0.0,
}
"""The original's physics as options of `WindowConfig`, where our defaults differ."""

HEAD = {"0.weight": "inner", "0.bias": "inner_bias", "2.weight": "outer", "2.bias": "offset"}


class Original(NamedTuple):
    """A converted model and the original's own record of how it was trained."""

    model: WindowModel
    record: dict[str, Any]


def load_original(path: Path, **options: Any) -> Original:
    """Read an original `ckpt_step*.pt` or bare state dict; nothing in the file is executed.

    Args:
        path: the file; opened with `weights_only=True`.
        options: `WindowConfig` fields that the file does not record (it stores no physics
            switches), for example `window_interaction=True`.

    Raises:
        UserError: the file is missing, unsafe, or is not such a checkpoint.
    """
    payload = _open(path)
    weights = payload.get("model_state", payload)
    record = {**payload.get("config", {}), **(payload.get("training_config") or {})}
    return Original(convert(weights, record, path, **options), record)


def convert(
    weights: dict[str, Tensor], record: dict[str, Any], source: Path | str, **options: Any
) -> WindowModel:
    """Build a model from the original's parameter names; shapes decide D, W, N and V."""
    for name in ("embedder.weight", "readout_window.weight"):
        if name not in weights:
            raise UserError(
                f"{source} must hold the original's {name}, which is missing. "
                "Give a checkpoint of the original window model."
            )
    renamed = _rename(weights)
    vocab_size, state_dim = renamed["embedding"].shape
    found = {
        "state_dim": state_dim,
        "window_size": renamed["readout.weight"].shape[1] // state_dim,
        "num_waves": renamed["wave_energy.inner"].shape[0],
        "convergence_epsilon": float(record.get("convergence_epsilon", 0.0)),
        "readout_fusion": "readout.fusion.weight" in renamed,
        "single_state_head": True,
        "anchor_scale": "raw",
    }
    if "max_window_steps" in record:
        found["num_dynamics_steps"] = int(record["max_window_steps"])
    if "vectorized_dt" in record:
        found["energy_step"] = float(record["vectorized_dt"])
    config = WindowConfig(**{**PHYSICS, **found, **options})
    model = WindowModel(config, vocab_size, torch.Generator())
    model = model.to(renamed["embedding"].dtype).eval()
    # The interaction's matrix is a buffer of zeros in files trained without it.
    wanted = model.state_dict().keys()
    missing = sorted(wanted - renamed.keys())
    if missing:
        raise UserError(
            f"{source} lacks what the model needs: {', '.join(missing)}. "
            "Choose the options that the checkpoint was trained with."
        )
    model.load_state_dict({name: renamed[name] for name in wanted})
    return model


def _rename(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {
        ours: weights[theirs]
        for theirs, ours in {**SCALARS, **MATRICES}.items()
        if theirs in weights
    }
    waves = len({name.split(".")[1] for name in weights if name.startswith("energy_heads.")})
    for suffix, ours in HEAD.items():
        heads = [weights[f"energy_heads.{i}.{suffix}"] for i in range(waves)]
        if heads:
            stacked = torch.stack(heads)
            flat = ours in ("outer", "offset")
            renamed[f"wave_energy.{ours}"] = stacked.flatten(1) if flat else stacked
    if "wave_energy.offset" in renamed:
        renamed["wave_energy.offset"] = renamed["wave_energy.offset"].flatten()
    if not waves:
        raise UserError(
            "The checkpoint must hold the original's energy_heads, none came. "
            "Give a checkpoint of the original window model."
        )
    return renamed


def _open(path: Path) -> dict[str, Any]:
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist. Give the path of a checkpoint.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read safely as a checkpoint: {reason} Use an undamaged file that "
            "holds tensors and plain values only."
        ) from error
    if not isinstance(payload, dict):
        raise UserError(f"{path} must hold named weights, {type(payload).__name__} came.")
    return payload
