"""How a stream settles: energies stage by stage, its tension, how long it remembers."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from boggers.errors import UserError
from boggers.field.tension import step_tension
from boggers.infer.engine import Engine
from boggers.model.stage import Stage
from boggers.model.stream import StreamModel
from boggers.plots.canvas import COLOURS, canvas, save

SHOWN = 48
"""Positions of the text that are drawn, its last ones."""


def draw_stream(engine: Engine, prompt: str, target: Path) -> list[Path]:
    """Descent, tension and memory of every stage while a prompt is read.

    Left, by how much the energy of a position falls in each step, on average; middle, the
    tension of every position after its last step; right, the time constants of the couplings'
    channels at rest, 1/softplus(α), in order: a channel forgets all but 37 % in that many tokens.

    Args:
        engine: a run of the stream architecture.
        prompt: the text that is read.
        target: where the picture goes, without suffix.

    Raises:
        UserError: the run is of another architecture, or takes no relaxation steps.
    """
    if not isinstance(engine.model, StreamModel) or engine.model.config.num_dynamics_steps == 0:
        raise UserError("This run is no stream that settles, so there is no settling to draw.")
    settled = engine.follow(prompt).settled
    stages = [stage for stage in engine.model.stages if isinstance(stage, Stage)]
    with canvas(3, height=3.6) as (figure, (energy, tension, memory)):
        for number, (rest, stage) in enumerate(zip(settled, stages, strict=True)):
            look = {"color": COLOURS[number % len(COLOURS)]}
            assert rest.fall is not None
            falls = rest.fall.mean(dim=(1, 2)).tolist()
            places = [number * len(falls) + step + 1 for step in range(len(falls))]
            energy.bar(places, falls, width=0.6, label=f"stage {number + 1}", **look)
            assert rest.path is not None
            strain = step_tension(rest.path[-2], rest.path[-1])[0, -SHOWN:]
            tension.plot(strain.tolist(), linewidth=1, marker=".", markersize=4, **look)
            memory.plot(time_constants(stage).tolist(), **look)
        energy.set(
            title="Descent", xlabel="step, stage after stage", ylabel="mean fall of the energy"
        )
        energy.xaxis.get_major_locator().set_params(integer=True)
        tension.set(
            title="Tension", xlabel="position, last of the text", ylabel="after the last step"
        )
        tension.set_yscale("log")
        memory.set(title="Memory", xlabel="channel, fastest first", ylabel="tokens", yscale="log")
        figure.legend(loc="outside lower center", ncols=min(4, len(stages)))
        return save(figure, target)


def time_constants(stage: Stage) -> Tensor:
    """1/softplus(α) of a stage's channels, in tokens, ascending."""
    with torch.no_grad():
        return (1 / F.softplus(stage.coupling.speed)).sort().values.cpu()
