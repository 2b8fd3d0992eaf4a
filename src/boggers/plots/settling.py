"""How states settle: tension and energy step by step, and the path in the plane."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from boggers.dynamics.record import Relaxation
from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.plots.canvas import COLOURS, canvas, save

LONGEST_LABEL = 28


def draw_settling(engine: Engine, prompts: Sequence[str], target: Path) -> list[Path]:
    """Tension, energy and path of each prompt's window as it settles.

    The plane is spanned by the two main directions of all the states passed through (principal
    components); circles are first steps, squares are where the states rest.

    Args:
        engine: the run.
        prompts: up to five.
        target: where the picture goes, without suffix.

    Raises:
        UserError: the run takes no relaxation steps, so there is nothing to see.
    """
    if engine.model.config.num_dynamics_steps == 0:
        raise UserError("This run takes no relaxation steps, so there is no settling to draw.")
    traces = [engine.trace(prompt) for prompt in prompts[: len(COLOURS)]]
    figure, (tension, energy, plane) = canvas(3, height=3.6)
    for trace, prompt, colour in zip(traces, prompts, COLOURS, strict=False):
        steps = range(1, len(trace.tension) + 1)
        tension.plot(steps, trace.tension[:, 0].tolist(), color=colour, label=_label(prompt))
        drop = trace.energy[:, 0] - trace.energy[0, 0]
        energy.plot(steps, drop.tolist(), color=colour)
    tension.set(title="Tension", xlabel="relaxation step", ylabel="tension (dimensionless)")
    energy.set(title="Energy", xlabel="relaxation step", ylabel="energy since step 1")
    for path, colour in zip(_project(traces), COLOURS, strict=False):
        across, up = path[:, 0].tolist(), path[:, 1].tolist()
        plane.plot(across, up, color=colour, linewidth=1.2)
        plane.plot(across[0], up[0], "o", color=colour, markersize=4, fillstyle="none")
        plane.plot(across[-1], up[-1], "s", color=colour, markersize=5)
    plane.set(title="Path of the state", xlabel="first main direction", ylabel="second")
    figure.legend(loc="outside lower center", ncols=min(3, len(traces)))
    return save(figure, target)


def _project(traces: Sequence[Relaxation]) -> list[Tensor]:
    """Every path in the plane of the two largest principal components, (T, 2) each."""
    paths = [torch.stack([state[0].flatten() for state in trace.path or ()]) for trace in traces]
    everything = torch.cat(paths)
    centre = everything.mean(dim=0)
    directions = torch.linalg.svd(everything - centre, full_matrices=False).Vh[:2]
    return [(path - centre) @ directions.t() for path in paths]


def _label(prompt: str) -> str:
    flat = " ".join(prompt.split())
    return flat if len(flat) <= LONGEST_LABEL else "…" + flat[-LONGEST_LABEL:]
