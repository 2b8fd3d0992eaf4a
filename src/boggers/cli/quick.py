"""`boggers train --quick-test`: two windows settle with fresh weights; no file is touched."""

import torch
from rich.console import Console

from boggers.model.architectures import Model, build_model
from boggers.model.stream import StreamModel
from boggers.model.token import TokenModel
from boggers.model.window import WindowConfig
from boggers.train.run import RunConfig, choose_device

VOCABULARY = 512
BEYOND = 5
"""Ids of the text beyond the window."""


def quick_test(config: RunConfig, console: Console) -> int:
    """Settle ids 0, 1, 2, … and the same reversed; say how far apart they come to rest.

    Returns:
        0 if both are finite and differ, else 1.
    """
    device = choose_device(config.train.device)
    model_config = config.model
    length = (
        model_config.window_size
        if isinstance(model_config, WindowConfig)
        else model_config.sequence_length
    )
    size = max(VOCABULARY, length + BEYOND)
    initial = torch.Generator().manual_seed(config.train.seed)
    model = build_model(model_config, size, initial).to(device).eval()
    forward = torch.arange(length + BEYOND, device=device)
    ends = []
    for name, ids in (("forward", forward), ("reversed", forward.flip(0))):
        state, summary = _settled(model, ids[-length:][None])
        ends.append(state.flatten())
        console.print(f"{name:<9} {summary}", markup=False)
    apart = float((ends[0] - ends[1]).norm())
    cosine = float(torch.nn.functional.cosine_similarity(ends[0], ends[1], dim=0))
    finite = all(bool(torch.isfinite(end).all()) for end in ends)
    console.print(f"apart     {apart:.6f} (L2), cosine {cosine:.6f}", markup=False)
    if not finite or apart == 0.0:
        console.print("The states are not finite." if not finite else "Order makes no difference.")
        return 1
    console.print("Both come to finite states, and order matters.")
    return 0


def _settled(model: Model, ids: torch.Tensor) -> tuple[torch.Tensor, str]:
    """Where a text comes to rest, and how, in words."""
    noise = torch.Generator(device=ids.device).manual_seed(0)
    with torch.inference_mode():
        if isinstance(model, TokenModel):
            read = model(ids, generator=noise)
            steps, strain = read.settled("steps").mean(), read.settled("tension").mean()
            return read.state.fast, f"{float(steps):.1f} steps a token, tension {float(strain):.4f}"
        if isinstance(model, StreamModel):
            stream = model(ids, generator=noise, keep_path=True)
            if not stream.settled:
                return stream.logits, "no steps"
            rest = stream.settled[-1]
            return rest.state, f"residual {float(rest.residual.mean()):.4f}"
        found = model.settle(ids, generator=noise, keep_path=True)
    curve = " ".join(f"{float(value):.4f}" for value in found.tension[:, 0])
    return found.state, f"{int(found.steps)} steps, {int(found.breaks)} breaks, tension {curve}"
