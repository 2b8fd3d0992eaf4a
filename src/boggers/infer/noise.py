"""The noise of breaks outside training: the same for every window, whatever its batch."""

import torch

SEED = 0


def breaking_noise(device: torch.device) -> torch.Generator:
    """A generator at a fixed seed, to be made anew for every batch.

    Breaks draw one (W, D) of noise for all rows of a batch. With a new generator each time, a
    window meets the same noise in every batch, so measuring and generating stay reproducible and
    independent of the company a window is in.
    """
    return torch.Generator(device=device).manual_seed(SEED)
