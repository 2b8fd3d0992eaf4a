"""Tensors of which every process of a run wrote its part, as safetensors files in one folder.

    shard-00001-model-00001-of-00001.safetensors  shard-00002-model-00001-of-00001.safetensors

Names: `weights.NAME`, `average.NAME` where a running average was kept, `optimizer.NAME.SLOT`. Each
file says which part of a tensor it has, so any number of processes can read what any other number
wrote. Reading and writing is `torch.distributed.checkpoint`; nothing in the files is pickled.
"""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from boggers.errors import UserError

if TYPE_CHECKING:
    from torch.distributed.checkpoint.hf_storage import (
        HuggingFaceStorageReader,
        HuggingFaceStorageWriter,
    )

PATTERN = "shard-*.safetensors"
WEIGHT, AVERAGED, MOMENT = "weights.", "average.", "optimizer."


def is_sharded(folder: Path) -> bool:
    """Whether a checkpoint's tensors are in shards."""
    return any(folder.glob(PATTERN))


def named_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The name and the whole shape of every tensor in the shards.

    Raises:
        UserError: a file is damaged.
    """
    try:
        metadata = reader(folder).read_metadata()
    except (OSError, SafetensorError) as error:
        raise UserError(_unreadable(folder, error)) from error
    found: dict[str, Any] = metadata.state_dict_metadata
    return {name: tuple(found[name].size) for name in sorted(found)}


def read_shards(folder: Path, into: Mapping[str, Tensor]) -> None:
    """Fill tensors, whole or distributed over the processes, with those of the same names.

    Raises:
        UserError: a file is damaged, or has no tensor of a name or another shape.
    """
    shapes = named_shapes(folder)
    for name, tensor in into.items():
        wanted = tuple(stored(tensor).shape)
        if shapes.get(name) != wanted:
            raise UserError(
                f"{folder} does not fit this model: {name} must be {wanted}, "
                f"{shapes.get(name, 'nothing')} came. Use the options that the checkpoint was "
                "trained with."
            )
    from torch.distributed.checkpoint.state_dict_loader import load

    alone = not torch.distributed.is_initialized()
    try:
        load(
            {name: stored(tensor) for name, tensor in into.items()},
            storage_reader=reader(folder),
            no_dist=alone,
        )
    except (OSError, SafetensorError) as error:
        raise UserError(_unreadable(folder, error)) from error


def fill_from_shards(model: nn.Module, folder: Path, *, last: bool = False) -> None:
    """Load a model's weights, or their running average where one was kept.

    Args:
        model: of the same shape.
        folder: a checkpoint.
        last: the weights as training left them, whatever was averaged.

    Raises:
        UserError: see `read_shards`.
    """
    averaged = not last and any(name.startswith(AVERAGED) for name in named_shapes(folder))
    prefix = AVERAGED if averaged else WEIGHT
    read_shards(folder, {f"{prefix}{name}": w for name, w in model.state_dict().items()})


def stored(tensor: Tensor) -> Tensor:
    """How a tensor is written: a single number as a row of one, since shards have dimensions."""
    return tensor.detach().reshape(1) if tensor.ndim == 0 else tensor.detach()


def reader(folder: Path) -> "HuggingFaceStorageReader":
    """What reads the safetensors files of a folder."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    _hush()
    return HuggingFaceStorageReader(str(folder))


def writer(folder: Path) -> "HuggingFaceStorageWriter":
    """What writes this process's part of the tensors into a folder."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    _hush()
    return HuggingFaceStorageWriter(str(folder), save_distributed=True)


def _hush() -> None:
    """Several processes or one: either is meant here, and torch need not ask."""
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "torch.distributed is disabled")


def _unreadable(folder: Path, error: Exception) -> str:
    return f"{folder} cannot be read as weights: {error}. Use another checkpoint."
