"""Training tokens, a gap, held-out tokens."""

from dataclasses import dataclass

from boggers.errors import UserError

RELIABLE_WINDOWS = 50


@dataclass(frozen=True)
class Split:
    """Ranges of token positions: training, then a gap of W tokens, then held-out to the end.

    The gap serves the first held-out tokens as context, so every held-out token is predicted, and
    no held-out context reaches into the training text.
    """

    train: range
    held_out: range
    window: int
    requested: float
    effective: float
    reliable: bool

    def report(self) -> list[str]:
        """What was decided, for the start of a run."""
        train_windows = max(0, len(self.train) - self.window)
        total = self.held_out.stop
        lines = [
            f"{total:,} tokens: {len(self.train):,} to learn from ({train_windows:,} windows), "
            f"{len(self.held_out):,} held out",
        ]
        if not self.held_out:
            reason = "as asked" if self.requested == 0 else "the text is too short"
            lines.append(f"nothing is held out, {reason}: the run cannot be judged")
            return lines
        lines.append(
            f"held out {self.effective:.2%} (asked for {self.requested:.2%}), "
            f"a gap of {self.window} tokens before it; no window crosses"
        )
        if not self.reliable:
            lines.append(
                f"WARNING: {len(self.held_out)} held-out tokens are fewer than "
                f"{RELIABLE_WINDOWS}: its numbers are unreliable. Give more text."
            )
        return lines


def split(
    n_tokens: int, val_fraction: float, window: int, minimum_windows: int = RELIABLE_WINDOWS
) -> Split:
    """Cut a corpus of n tokens in two, with a gap of W = `window` tokens.

    The held-out part begins at ⌊n (1 - f)⌋, moved so that both sides hold at least one window
    (W + 1 tokens). If it then has fewer than `minimum_windows` windows, the cut is made once more
    with f = max(f, (minimum_windows + W) / n). Below 3 W + 2 tokens nothing is held out.

    Raises:
        UserError: fewer than W + 1 tokens, or a fraction outside [0, 1).
    """
    if not 0 <= val_fraction < 1:
        raise UserError(f"--val-fraction must be at least 0 and below 1, {val_fraction} came.")
    smallest = window + 1
    if n_tokens < smallest:
        raise UserError(
            f"A window of {window} tokens needs a corpus of at least {smallest}, {n_tokens} came. "
            "Give more text or a smaller --window-size."
        )
    if val_fraction == 0 or n_tokens < 2 * smallest + window:
        everything = range(0, n_tokens)
        nothing = range(n_tokens, n_tokens)
        return Split(everything, nothing, window, val_fraction, 0.0, reliable=False)
    cut = _cut(n_tokens, val_fraction, window)
    if n_tokens - cut - window < minimum_windows:
        cut = _cut(n_tokens, max(val_fraction, (minimum_windows + window) / n_tokens), window)
    held_out = range(cut, n_tokens)
    return Split(
        train=range(0, cut - window),
        held_out=held_out,
        window=window,
        requested=val_fraction,
        effective=len(held_out) / n_tokens,
        reliable=len(held_out) - window >= minimum_windows,
    )


def _cut(n_tokens: int, fraction: float, window: int) -> int:
    smallest = window + 1
    wanted = int(n_tokens * (1 - fraction))
    return min(max(wanted, smallest + window), n_tokens - smallest)
