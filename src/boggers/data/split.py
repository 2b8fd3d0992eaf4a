"""Training text, a gap, held-out text: one cut through the tokens.

    0 ───── training ───── i−W ── gap ── i ── held out ── n

The gap of W tokens is trained on by nobody; the first held-out tokens take their context from it.
"""

from dataclasses import dataclass

from boggers.data.config import check_val_fraction
from boggers.errors import UserError

MINIMUM_WINDOWS = 50


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where the training and the held-out tokens lie.

    Attributes:
        n_tokens: n, all tokens of the text.
        window: W, also the length of the gap.
        train: positions of the training tokens.
        held_out: positions of the held-out tokens; empty if there are none.
        requested: the share that was asked for.
        effective: the share that is held out, len(held_out) / n.
        reliable: whether the held-out text has enough windows to measure a model by.
        minimum_windows: how many that is.
    """

    n_tokens: int
    window: int
    train: range
    held_out: range
    requested: float
    effective: float
    reliable: bool
    minimum_windows: int = MINIMUM_WINDOWS

    @property
    def train_windows(self) -> int:
        """Windows of W tokens and a target inside the training tokens."""
        return _windows(self.train, self.window)

    @property
    def held_out_windows(self) -> int:
        """Windows of W tokens and a target inside the held-out tokens."""
        return _windows(self.held_out, self.window)

    def report(self) -> list[str]:
        """What a person should know of the split before training starts, line by line."""
        lines = [
            f"total_tokens={self.n_tokens}",
            f"train_tokens={len(self.train)}",
            f"val_tokens={len(self.held_out)}",
            f"train_windows={self.train_windows}",
            f"val_windows={self.held_out_windows}",
            self._fraction(),
        ]
        if len(self.held_out) > 0 and not self.reliable:
            lines.append(
                f"WARNING: validation unreliable: {self.held_out_windows} held-out windows, "
                f"{self.minimum_windows} are wanted. Use a longer text or a larger --val-fraction."
            )
        gap = self.window if len(self.held_out) > 0 else 0
        lines.append(
            f"window_size={self.window} (train/val gap={gap} tokens, no window is in both)"
        )
        return lines

    def _fraction(self) -> str:
        asked = f"(requested --val-fraction={self.requested:.4g})"
        if len(self.held_out) > 0:
            return f"final val_fraction={self.effective:.4g} {asked}"
        if self.requested == 0.0:
            return f"final val_fraction=0 {asked}: validation is off"
        return (
            f"final val_fraction=0 {asked}: nothing can be held out of {self.n_tokens} tokens, "
            f"which takes {_least_to_split(self.window)}. All of them are trained on"
        )


def split(
    n_tokens: int,
    val_fraction: float,
    window: int,
    minimum_windows: int = MINIMUM_WINDOWS,
    flag: str = "--window-size",
) -> Split:
    """Cut n tokens into training, a gap of W and a held-out end.

    The cut lies at i = ⌊n (1 − f)⌋, moved so that both sides keep at least one window. If the
    held-out side has fewer than `minimum_windows` windows, it is cut once more with the share
    max(f, (minimum_windows + W) / n). Below 3W + 2 tokens everything is training.

    Args:
        n_tokens: n.
        val_fraction: f, the share to hold out, 0 ≤ f < 1; 0 holds out nothing.
        window: W, at least 1.
        minimum_windows: how many held-out windows are wanted.
        flag: the option that sets W, for messages.

    Raises:
        UserError: f is out of range, or the text has no window of W tokens and a target.
    """
    check_val_fraction(val_fraction)
    if n_tokens < window + 1:
        raise UserError(
            f"Training with {flag} {window} needs at least {window + 1} tokens; the text "
            f"has {n_tokens}. Use a longer text (--corpus synthetic generates one) or a smaller "
            f"{flag}."
        )
    train, held_out = range(n_tokens), range(n_tokens, n_tokens)
    if val_fraction > 0.0 and n_tokens >= _least_to_split(window):
        train, held_out = _cut(n_tokens, val_fraction, window)
        if _windows(held_out, window) < minimum_windows:
            aimed = max(val_fraction, (minimum_windows + window) / n_tokens)
            train, held_out = _cut(n_tokens, aimed, window)
    return Split(
        n_tokens=n_tokens,
        window=window,
        train=train,
        held_out=held_out,
        requested=val_fraction,
        effective=len(held_out) / n_tokens,
        reliable=_windows(held_out, window) >= minimum_windows,
        minimum_windows=minimum_windows,
    )


def _least_to_split(window: int) -> int:
    """Tokens that leave one window on either side of the gap: 2 (W + 1) + W."""
    return 3 * window + 2


def _cut(n: int, fraction: float, window: int) -> tuple[range, range]:
    at = int(n * (1.0 - fraction))
    at = min(max(at, 2 * window + 1), n - window - 1)
    return range(at - window), range(at, n)


def _windows(part: range, window: int) -> int:
    return max(0, len(part) - window)
