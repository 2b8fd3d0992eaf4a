"""A model on disk: its numbers as safetensors, its shape as JSON."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from boggers.errors import UserError
from boggers.files import read_json, write_json
from boggers.model.architectures import (
    CONFIGS,
    Model,
    ModelConfig,
    architecture_of,
    build_model,
    named,
)
from boggers.model.sharded import fill_from_shards, is_sharded

WEIGHTS = "model.safetensors"
SHAPE = "model.json"
AVERAGE = "average.safetensors"
"""Where a running average of the weights was kept in training; it is preferred."""


def save_model(model: Model, folder: Path) -> None:
    """Write `model.safetensors` and `model.json` into an existing folder."""
    tensors = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    save_shape(model, folder)


def save_shape(model: Model, folder: Path) -> None:
    """Write `model.json`, which says what model the weights belong to."""
    shape = {
        "architecture": architecture_of(model.config),
        "vocab_size": model.vocab_size,
        "config": dataclasses.asdict(model.config),
    }
    write_json(folder / SHAPE, shape)


def load_model(folder: Path, device: torch.device | str = "cpu") -> Model:
    """The model saved in a folder, in evaluation mode.

    Raises:
        UserError: files are missing or damaged, or belong to an unknown architecture.
    """
    shape = read_json(folder / SHAPE)
    config = config_from_json(shape, folder / SHAPE)
    model = build_model(config, shape["vocab_size"], torch.Generator())
    if is_sharded(folder):
        fill_from_shards(model, folder)
    else:
        averaged = (folder / AVERAGE).is_file()
        fill_model(model, folder / (AVERAGE if averaged else WEIGHTS))
    return model.to(device).eval()


def fill_model(model: Model, path: Path) -> None:
    """Load weights into a model of the same shape.

    Raises:
        UserError: the file is missing or damaged, or a name or a shape differs.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as weights: {error}. Use another checkpoint."
        ) from error
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        wanted = tuple(expected[name].shape) if name in expected else None
        came = tuple(tensors[name].shape) if name in tensors else None
        if wanted != came:
            raise UserError(
                f"{path} does not fit this model: {name} must be {wanted or 'absent'}, "
                f"{came or 'nothing'} came. Use the options that the checkpoint was trained with."
            )
    model.load_state_dict(tensors)


def config_from_json(shape: Any, source: Path) -> ModelConfig:
    """The options in a `model.json`; unknown architectures and options are refused."""
    architecture = shape.get("architecture") if isinstance(shape, dict) else None
    try:
        kind: Any = CONFIGS[named(str(architecture))]
    except UserError as error:
        raise UserError(
            f"{source} is of another version: {error} Load it with the version that wrote it."
        ) from error
    values: dict[str, Any] = shape["config"]
    unknown = sorted(values.keys() - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise UserError(
            f"{source} names options that this version does not know: {', '.join(unknown)}. "
            "Load it with the version that wrote it."
        )
    whole = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    config: ModelConfig = kind(**whole)
    return config
