"""How states settle: tension and energy step by step, and the path in the plane."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from boggers.dynamics.record import Relaxation
from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.plots.canvas import COLOURS, GRID, INK, canvas, save

LONGEST_LABEL = 28


def draw_settling(engine: Engine, prompts: Sequence[str], target: Path) -> list[Path]:
    """Tension, energy and path of each prompt's window as it settles.

    Energies and paths are drawn from where each window stands after its first step, since windows
    lie far apart compared with how far they move. The plane is spanned by the two main directions
    (principal components) of all these moves, each beside its share of their squared length;
    squares are where the states end.

    Args:
        engine: the run.
        prompts: up to five.
        target: where the picture goes, without suffix.

    Raises:
        UserError: the run takes no relaxation steps, or no prompt came.
    """
    if engine.model.config.num_dynamics_steps == 0:
        raise UserError("This run takes no relaxation steps, so there is no settling to draw.")
    if not prompts:
        raise UserError("A picture of settling needs at least one prompt, none came.")
    prompts = prompts[: len(COLOURS)]
    traces = [engine.trace(prompt) for prompt in prompts]
    with canvas(3, height=3.6) as (figure, (tension, energy, plane)):
        for trace, prompt, colour in zip(traces, prompts, COLOURS, strict=False):
            steps = range(1, len(trace.tension) + 1)
            look = {"color": colour, "marker": "."}
            tension.plot(steps, trace.tension[:, 0].tolist(), label=_label(prompt), **look)
            drop = trace.energy[:, 0] - trace.energy[0, 0]
            energy.plot(steps, drop.tolist(), **look)
        tension.set(title="Tension", xlabel="relaxation step", ylabel="tension (dimensionless)")
        energy.set(title="Energy", xlabel="relaxation step", ylabel="energy since step 1")
        for axes in (tension, energy):
            axes.xaxis.get_major_locator().set_params(integer=True)
        _draw_paths(plane, traces)
        figure.legend(loc="outside lower center", ncols=min(3, len(traces)))
        return save(figure, target)


def _draw_paths(plane: Any, traces: Sequence[Relaxation]) -> None:
    paths, shares = _project(traces)
    plane.axhline(0, color=GRID, linewidth=1)
    plane.axvline(0, color=GRID, linewidth=1)
    for path, colour in zip(paths, COLOURS, strict=False):
        across, up = path[:, 0].tolist(), path[:, 1].tolist()
        plane.plot(across, up, color=colour, linewidth=1.4, marker=".", markersize=4)
        plane.plot(across[-1], up[-1], "s", color=colour, markersize=6)
    plane.plot(0, 0, "o", color=INK, markersize=6, fillstyle="none")
    plane.set(
        title="Path of the state",
        xlabel=f"first main direction ({100 * shares[0]:.0f} %)",
        ylabel=f"second ({100 * shares[1]:.0f} %)",
    )


def _project(traces: Sequence[Relaxation]) -> tuple[list[Tensor], list[float]]:
    """Every path from its first state in the plane of the two largest principal components.

    Returns:
        The paths, (T, 2) each, and the share of all squared length that each direction holds.
    """
    paths = [torch.stack([state[0].flatten() for state in trace.path or ()]) for trace in traces]
    moves = [(path - path[0]).double().cpu() for path in paths]
    _, lengths, directions = torch.linalg.svd(torch.cat(moves), full_matrices=False)
    plane = torch.zeros(2, directions.shape[1], dtype=torch.float64)
    plane[: len(directions)] = directions[:2]
    squares = torch.zeros(2, dtype=torch.float64)
    squares[: len(lengths)] = lengths[:2] ** 2
    shares = squares / (lengths**2).sum().clamp_min(1e-30)
    return [move @ plane.t() for move in moves], shares.tolist()


def _label(prompt: str) -> str:
    flat = " ".join(prompt.split())
    return flat if len(flat) <= LONGEST_LABEL else "…" + flat[-LONGEST_LABEL:]
