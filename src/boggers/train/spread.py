"""Whether a tensor is spread over processes, asked without loading what would spread it."""

import sys
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_spread(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether it is a DTensor; there is none where nobody has imported their module.

    The import takes half a second, which a run in one process need not wait.
    """
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
