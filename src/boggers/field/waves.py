"""Waves: a state's channels cut into contiguous groups, each kept on its own sphere."""

import torch
import torch.nn.functional as F

from boggers.shapes import State, Waves

NORM_FLOOR, NORM_CEILING = 1e-3, 12.0
"""The range that a wave's length is held to after a descent step."""

TINY = 1e-12


def split_waves(state: State, num_waves: int) -> Waves:
    """View (B, W, D) as (B, W, N, C): wave n owns the channels n·C to (n+1)·C."""
    return state.view(*state.shape[:-1], num_waves, state.shape[-1] // num_waves)


def normalise_waves(state: State, num_waves: int) -> State:
    """Give every wave of every position length 1: s⁽ⁿ⁾ ← s⁽ⁿ⁾ / max(‖s⁽ⁿ⁾‖, 1e-12).

    A position's full vector then has length √N.
    """
    return F.normalize(split_waves(state, num_waves), dim=-1, eps=TINY).flatten(-2)


def clamp_waves(state: State, num_waves: int) -> State:
    """Hold every wave's length within [1e-3, 12]; a wave of exactly zero stays zero.

    Only descent without renormalisation needs it: there nothing else bounds the state.
    """
    waves = split_waves(state, num_waves)
    length = waves.norm(dim=-1, keepdim=True)
    floored = torch.where(length < NORM_FLOOR, waves * (NORM_FLOOR / (length + 1e-15)), waves)
    length = floored.norm(dim=-1, keepdim=True)
    ceiled = torch.where(length > NORM_CEILING, floored * (NORM_CEILING / length), floored)
    return ceiled.flatten(-2)
