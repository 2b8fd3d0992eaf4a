"""The letters of every shape, and the tensor aliases that signatures speak.

B rows (windows) of a batch · W positions of a window · N waves · C channels per wave ·
D = N·C state width · V vocabulary · M memory patterns · K candidates (anchors) · T steps kept.

The aliases are checked at run time in the tests only (pytest's --jaxtyping-packages).
"""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

State = Float[Tensor, "B W D"]
"""A window of token states, settling together."""

Waves = Float[Tensor, "B W N C"]
"""The same state, each position cut into its waves."""

PerRow = Float[Tensor, " B"]
"""One number per row: an energy, a tension, a step size."""

RowMask = Bool[Tensor, " B"]
"""One decision per row."""

Tokens = Int64[Tensor, "B W"]
"""Token ids of the windows."""

Targets = Int64[Tensor, " B"]
"""The token that follows each window."""

Logits = Float[Tensor, "B V"]
"""Unnormalised log-probabilities of the next token."""
