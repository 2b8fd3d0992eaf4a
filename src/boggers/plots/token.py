"""How a token model follows a text: tension, inner steps and lengths, token by token."""

from pathlib import Path

import torch

from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.model.token import TokenModel
from boggers.plots.canvas import canvas, save

SHOWN = 60
"""Latest tokens that are drawn."""


def draw_token(engine: Engine, prompt: str, target: Path) -> list[Path]:
    """Tension, inner steps, and the length of the fast and of the slow state at every token.

    Args:
        engine: a run of the token architecture.
        prompt: the text that is read.
        target: where the picture goes, without suffix.

    Raises:
        UserError: the run is of another architecture.
    """
    model = engine.model
    if not isinstance(model, TokenModel):
        raise UserError("This run follows no text token by token, so there is nothing to draw.")
    ids = engine.tokenizer.encode(prompt) or [engine.tokenizer.separator_id or 0]
    tensions, steps, fast, slow = [], [], [], []
    state = None
    with torch.inference_mode():
        for token in ids[-SHOWN:]:
            reading = model(torch.tensor([[token]], device=model.embedding.device), state=state)
            state = reading.state
            tensions.append(float(reading.settled("tension")))
            steps.append(int(reading.settled("steps")))
            fast.append(float(state.fast.norm()))
            slow.append(float(state.slow.norm()))
    with canvas(3, height=3.6) as (figure, (strain, taken, length)):
        strain.plot(tensions, marker=".", markersize=4)
        strain.axhline(model.config.rest_tension, linestyle=":", color="grey")
        strain.set(title="Tension", xlabel="token", ylabel="after the last step")
        taken.bar(range(len(steps)), steps)
        taken.set(title="Steps", xlabel="token", ylabel="until rest")
        length.plot(fast, label="fast")
        length.plot(slow, label="slow")
        length.set(title="States", xlabel="token", ylabel="length")
        length.legend()
        return save(figure, target)
