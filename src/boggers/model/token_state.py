"""All that a token model remembers between two tokens: a value of fixed size."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class TokenState:
    """The past of B texts.

    A state is never changed: reading on returns a new one.

    Attributes:
        fast, slow: (B, D), where the last token came to rest and what lingers of those before.
        signals: (B, R, D), the latest signals, oldest first; zeros where there were none.
        heard: (B,), how many of them are real.
        tension: (B,), of the last token.
        latest: (B, n), the last token ids that phrases need, -1 where there were none.
    """

    fast: Float[Tensor, "B D"]
    slow: Float[Tensor, "B D"]
    signals: Float[Tensor, "B R D"]
    heard: Int64[Tensor, " B"]
    tension: Float[Tensor, " B"]
    latest: Int64[Tensor, "B n"]

    @property
    def rows(self) -> int:
        """B."""
        return len(self.fast)

    def select(self, rows: Sequence[int]) -> "TokenState":
        """The texts of these rows, in this order; a row that comes twice is forked."""
        picked = list(rows)
        return TokenState(**{name: value[picked] for name, value in self.tensors().items()})

    @classmethod
    def join(cls, states: Sequence["TokenState"]) -> "TokenState":
        """The texts of several states as one batch."""
        parts = [state.tensors() for state in states]
        return cls(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def tensors(self) -> dict[str, Tensor]:
        """The state's parts by name, as they are kept in a checkpoint."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}

    def detached(self) -> "TokenState":
        """The same past without its gradient; texts whose state is not finite begin anew."""
        sound = torch.isfinite(self.fast).all(dim=1) & torch.isfinite(self.slow).all(dim=1)
        parts = {
            name: torch.where(
                sound.view(-1, *[1] * (value.ndim - 1)),
                value.detach(),
                torch.full_like(value, -1 if name == "latest" else 0),
            )
            for name, value in self.tensors().items()
        }
        return TokenState(**parts)
