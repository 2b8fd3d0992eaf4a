"""Target states that windows are led to in training, a batch at a time."""

import pickle
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from boggers.data.windows import Windows
from boggers.errors import UserError
from boggers.model.window import WindowModel
from boggers.train.extra_losses import ExtraLosses

Guidance = Callable[[Tensor, Tensor], Tensor]
"""From the numbers (B,) and the contexts (B, W) of training windows to their targets (B, W, D)."""


def make_guidance(
    config: ExtraLosses, model: object, rows: Sized, device: torch.device
) -> Guidance | None:
    """What looks up target states, or None where none are used.

    Args:
        config: where they come from.
        model: as it is before any training; its embedding is copied where it is the source.
        rows: the training windows.
        device: where targets are needed.

    Raises:
        UserError: the model settles no windows, or the file does not hold what it must.
    """
    if not config.guided:
        return None
    if not isinstance(model, WindowModel):
        raise UserError(
            "Target states are given for windows: use --architecture window, or leave out "
            "--trajectory-guidance-nudge-scale and --trajectory-guidance-mse-weight."
        )
    if config.guidance_states is not None:
        windows = rows.distinct if isinstance(rows, Windows) else len(rows)
        shape = (windows, model.config.window_size, model.config.state_dim)
        return _from_file(config.guidance_states, shape)
    return _from_embedding(model, config.guidance_batch, device)


def _from_embedding(model: WindowModel, size: int, device: torch.device) -> Guidance:
    """Computed when needed from the embedding table of step 0: nothing is kept but that table."""
    table = model.embedding.detach().clone().to(device)

    def look_up(numbers: Tensor, contexts: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([model.embed(part, table) for part in torch.split(contexts, size)])

    return look_up


def _from_file(path: Path, shape: tuple[int, int, int]) -> Guidance:
    """Read a batch at a time from a file that is mapped into memory."""
    states = _mapped(path)
    found = tuple(getattr(states, "shape", ()))
    if found != shape:
        raise UserError(
            f"--trajectory-guidance-states {path} must hold one state for every training window, "
            f"{shape}; it holds {found or 'no tensor'}."
        )

    def look_up(numbers: Tensor, contexts: Tensor) -> Tensor:
        if isinstance(states, np.ndarray):
            rows = torch.from_numpy(np.array(states[numbers.cpu().numpy()]))
        else:
            rows = states[numbers.cpu()]
        return rows.to(contexts.device, torch.float32)

    return look_up


def _mapped(path: Path) -> Any:
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise UserError(f"--trajectory-guidance-states {path} does not exist.") from error
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--trajectory-guidance-states {path} cannot be read as a tensor: {reason} Save one "
            "with torch.save or numpy.save."
        ) from error
