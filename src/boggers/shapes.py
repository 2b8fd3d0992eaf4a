"""The letters of every shape, and the tensor aliases that signatures speak.

B rows (windows, streams) of a batch · W positions of a window, T of a stream · N waves ·
C channels per wave · D = N·C state width · V vocabulary · M memory patterns · K candidates
(anchors) or relaxation steps · L stages. A relaxation's curves have T steps kept.

The aliases are checked at run time in the tests only (pytest's --jaxtyping-packages).
"""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

State = Float[Tensor, "B W D"]
"""A window of token states, settling together."""

Waves = Float[Tensor, "B W N C"]
"""The same state, each position cut into its waves."""

Stream = Float[Tensor, "B T D"]
"""The states of a stream, one a position; every position settles by itself."""

PerPosition = Float[Tensor, "B T"]
"""One number per position: an energy, a residual, a tension."""

PositionMask = Bool[Tensor, "B T"]
"""One decision per position."""

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
