"""The numbers that products are computed in."""

from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]
"""auto: bf16 on CUDA, fp32 elsewhere. Weights and what the optimiser keeps are float32 always."""


def products_in(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a training step multiplies in these numbers."""
    half = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=half)
