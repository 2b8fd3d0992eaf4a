"""A living graph that feels a text while it is written, and how it answers."""

import dataclasses
from collections.abc import Sequence

import torch

from boggers.graph.feedback import Feedback
from boggers.graph.language import LanguageNode
from boggers.infer.decoder import window_contexts
from boggers.infer.noise import breaking_noise
from boggers.infer.sampling import Sampling
from boggers.model.architectures import Model
from boggers.model.stream import StreamState
from boggers.model.token import TokenModel
from boggers.model.token_state import TokenState
from boggers.model.window import WindowModel
from boggers.shapes import Logits


class Pulse:
    """Writes one text with a graph beside it: every token's tension is felt before it is drawn.

    The tension of a window is that of its settled state, as is that of a token model's token; that
    of a stream's token is the mean residual of its stages.

    Args:
        model: in evaluation mode.
        node: by which the graph feels.
        feedback: what flows back: relaxation steps of a window, and the sampling temperature.
    """

    def __init__(self, model: Model, node: LanguageNode, feedback: Feedback) -> None:
        self.model = model
        self.node = node
        self.feedback = feedback
        self._state: StreamState | TokenState | None = None

    def follow(self, ids: Sequence[int]) -> Logits:
        """Logits (1, V) of the token after a text that grew by one since the last call."""
        if isinstance(self.model, WindowModel):
            logits, tension = self._window(self.model, ids)
        else:
            logits, tension = self._onward(ids)
        self.node.feel(tension)
        self.feedback.look(self.node.graph)
        return logits

    def sampling(self, usual: Sampling) -> Sampling:
        """How to draw now."""
        temperature = self.feedback.temperature(usual.temperature)
        return dataclasses.replace(usual, temperature=temperature)

    def _window(self, model: WindowModel, ids: Sequence[int]) -> tuple[Logits, float]:
        contexts = window_contexts(model, [ids])
        steps = self.feedback.steps(model.config.num_dynamics_steps)
        reading = model(contexts, steps=steps, generator=breaking_noise(contexts.device))
        settled = reading.relaxation
        tension = float(settled.tension[-1, 0]) if len(settled.tension) else 0.0
        return reading.logits, tension

    def _onward(self, ids: Sequence[int]) -> tuple[Logits, float]:
        device = self.model.embedding.device
        new = list(ids) if self._state is None else [ids[-1]]
        tokens = torch.tensor([new], device=device)
        reading = self.model(tokens, state=self._state, generator=breaking_noise(device))
        self._state = reading.state
        if isinstance(self.model, TokenModel):
            return reading.logits[:, -1], float(reading.settled("tension")[0, -1])
        residuals = [float(rest.residual[0, -1]) for rest in reading.settled]
        return reading.logits[:, -1], sum(residuals) / len(residuals) if residuals else 0.0
