"""The architectures by name: how each is configured and built."""

import dataclasses
from typing import Any, Literal

import torch

from boggers.errors import UserError
from boggers.model.stream import StreamConfig, StreamModel
from boggers.model.token import TokenConfig, TokenModel
from boggers.model.window import WindowConfig, WindowModel

Architecture = Literal["window", "stream", "token"]
Model = WindowModel | StreamModel | TokenModel
ModelConfig = WindowConfig | StreamConfig | TokenConfig

CONFIGS: dict[Architecture, type[ModelConfig]] = {
    "window": WindowConfig,
    "stream": StreamConfig,
    "token": TokenConfig,
}
"""The options of every architecture by its name."""

_RESTS = {
    "window": "convergence_epsilon",
    "stream": "relax_tolerance",
    "token": "rest_tension",
}
"""The option of each that says what it rests below."""


def architecture_of(config: ModelConfig) -> Architecture:
    """The name of the architecture that a configuration belongs to."""
    return next(name for name, kind in CONFIGS.items() if isinstance(config, kind))


def build_model(config: ModelConfig, vocab_size: int, generator: torch.Generator) -> Model:
    """A fresh model; its weights are drawn from the generator alone."""
    if isinstance(config, WindowConfig):
        return WindowModel(config, vocab_size, generator)
    if isinstance(config, TokenConfig):
        return TokenModel(config, vocab_size, generator)
    return StreamModel(config, vocab_size, generator)


def named(architecture: str) -> Architecture:
    """The architecture of that name.

    Raises:
        UserError: there is no architecture of that name.
    """
    if architecture not in CONFIGS:
        raise UserError(
            f"There is no architecture {architecture!r}; the architectures are "
            f"{', '.join(CONFIGS)}."
        )
    return architecture


def settle_otherwise(model: Model, steps: int | None, tolerance: float | None) -> None:
    """Let a trained model settle for other steps, or rest earlier, than it was trained to.

    Args:
        model: its configuration is replaced; its weights are not touched.
        steps: K for every relaxation from now on; None leaves it.
        tolerance: what a row (window; change of energy) or a position (stream; share of its
            length) must move less than to rest; the tension below which a token rests; None leaves
            it.

    Raises:
        UserError: the model was built without anything to settle in, or a value is impossible.
    """
    changes: dict[str, Any] = {}
    if steps is not None:
        if steps > 0 and model.config.num_dynamics_steps == 0:
            raise UserError(
                f"This model was trained with no relaxation steps, so it cannot take {steps}. "
                "Train one with --num-dynamics-steps above 0."
            )
        changes["num_dynamics_steps"] = steps
    if tolerance is not None:
        changes[_RESTS[architecture_of(model.config)]] = tolerance
    model.config = dataclasses.replace(model.config, **changes)
