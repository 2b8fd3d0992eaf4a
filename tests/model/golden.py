"""The original's numbers for one window, and a model filled by their rule."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from boggers.model.original import convert
from boggers.model.window import WindowModel

FOLDER = Path(__file__).parent.parent / "golden"
ROWS = [json.loads((FOLDER / f"window_row{row}.json").read_text()) for row in (0, 1)]
# The original keeps two tension weights in float32 buffers.
WEIGHTS = (1.0, float(torch.tensor(0.35)), float(torch.tensor(0.08)))


def sine(shape: tuple[int, ...], amplitude: float, offset: float) -> Tensor:
    count = math.prod(shape)
    angle = 0.37 * torch.arange(count, dtype=torch.float64) + offset
    return (amplitude * angle.sin()).reshape(shape)


def original_weights(golden: dict[str, Any]) -> dict[str, Tensor]:
    """The parameters of the original by its own names, filled as the file says."""
    shape = golden["config"]
    vocab, width, waves, window = shape["V"], shape["D"], shape["num_waves"], shape["W"]
    channels = width // waves
    shapes: dict[str, tuple[int, ...]] = {
        "embedder.weight": (vocab, width),
        "readout.weight": (vocab, width),
        "readout_window.weight": (vocab, window * width),
        "readout_fusion.weight": (width, width),
        "readout_fusion.bias": (width,),
    }
    for i in range(waves):
        shapes[f"energy_heads.{i}.0.weight"] = (channels, channels)
        shapes[f"energy_heads.{i}.0.bias"] = (channels,)
        shapes[f"energy_heads.{i}.2.weight"] = (1, channels)
        shapes[f"energy_heads.{i}.2.bias"] = (1,)
    weights = {}
    for name, size in shapes.items():
        offset = sum(map(ord, name)) % 97
        assert golden["offsets"].get(name, offset) == offset
        weights[name] = sine(size, 1.0 if name == "embedder.weight" else 0.3, offset)
    weights["phase1_window_C"] = torch.eye(window, dtype=torch.float64) + sine(
        (window, window), 0.05, 0.0
    )
    for name, value in (
        ("position_gamma_raw", 0.52),
        ("interaction_scale_raw", 0.07),
        ("interaction_dt_raw", 0.09),
        ("temperature_raw", 0.12),
    ):
        # Scalars keep their defaults, which the original makes in float32.
        weights[name] = torch.tensor(math.log(math.expm1(value))).to(torch.float64)
    weights["position_asym"] = torch.tensor(shape["position_asym"], dtype=torch.float64)
    return weights


def golden_model(**options: Any) -> WindowModel:
    """The original's model at the golden size, in float64, with the physics options given."""
    golden = ROWS[0]
    weights = original_weights(golden)
    if not options.pop("fusion", False):
        weights = {name: w for name, w in weights.items() if "fusion" not in name}
    options.setdefault("tension_weights", WEIGHTS)
    record = {"max_window_steps": golden["config"]["max_window_steps"]}
    return convert(weights, record, "golden", **options)
