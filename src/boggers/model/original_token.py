"""The original's token path, which it never trained nor called, read into a `TokenModel`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from boggers.errors import UserError
from boggers.model.token import TokenConfig, TokenModel

NAMES = {
    "embedder.weight": "embedding",
    "readout.weight": "readout.weight",
    "temperature_raw": "readout.temperature_raw",
    "wave_interaction.weight": "interaction.weight",
    "wave_interaction.bias": "interaction.bias",
    "gamma": "context_gain",
    "slow_lr": "slow_gain",
    "agent_blend_weight": "blend",
    "tension_noise_gain": "noise_gain",
    "dynamics.mhd.U": "drift.left",
    "dynamics.mhd.V": "drift.right",
    "dynamics.mhd.diag": "drift.diagonal",
    "dynamics.mhd.cubic_scale": "drift.cubic",
    "dynamics.mhd.coupling": "drift.coupling",
}
LAYERS = {
    "mlp.0.weight": "inner",
    "mlp.0.bias": "inner_bias",
    "mlp.2.weight": "outer",
    "mlp.2.bias": "outer_bias",
    "residual_scale": "strength",
}
PHYSICS: dict[str, Any] = {
    "num_dynamics_steps": 12,
    "min_attractor_steps": 4,
    "rest_tension": 0.85,
    "slow_limit": 0.5,
    "state_normalization": False,
    "readout": "flat",
    "readout_dropout": 0.0,
    "breaks": True,
}
"""The original's token path as options of `TokenConfig`, where our defaults differ."""


def convert_token(weights: dict[str, Tensor], source: Path | str, **options: Any) -> TokenModel:
    """Build a token model from the original's parameter names; shapes decide D, N and V.

    Args:
        weights: a state dict of the original.
        source: where it came from, for messages.
        options: `TokenConfig` fields that such a file does not record.

    Raises:
        UserError: a tensor is missing.
    """
    renamed = {ours: weights[theirs] for theirs, ours in NAMES.items() if theirs in weights}
    waves = len({name.split(".")[1] for name in weights if name.startswith("wave_dynamics.")})
    found: dict[str, Any] = {"dynamics": "waves", "num_waves": max(1, waves)}
    if "drift.left" in renamed:
        heads, width, rank = renamed["drift.left"].shape
        found |= {
            "dynamics": "vectorized",
            "vectorized_num_heads": heads,
            "vectorized_rank": rank,
            "original_drift": True,
        }
    else:
        for theirs, ours in LAYERS.items():
            parts = [weights.get(f"wave_dynamics.{wave}.{theirs}") for wave in range(waves)]
            if parts and all(part is not None for part in parts):
                renamed[f"drift.{ours}"] = torch.stack([p for p in parts if p is not None])
    if "embedding" not in renamed:
        raise UserError(f"{source} must hold the original's embedder.weight, which is missing.")
    vocab_size, width = renamed["embedding"].shape
    config = TokenConfig(**{**PHYSICS, "state_dim": width, **found, **options})
    model = TokenModel(config, vocab_size, torch.Generator()).to(renamed["embedding"].dtype).eval()
    missing = sorted(model.state_dict().keys() - renamed.keys())
    if missing:
        raise UserError(
            f"{source} lacks what the token model needs: {', '.join(missing)}. "
            "Give a checkpoint that has the original's token path."
        )
    model.load_state_dict({name: renamed[name] for name in model.state_dict()})
    return model
