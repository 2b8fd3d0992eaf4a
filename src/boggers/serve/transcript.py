"""From ids that come one by one to text that can be shown."""

from collections.abc import Sequence

from boggers.text.base import Tokenizer


class Transcript:
    """Decodes a growing text piece by piece; every piece costs the same wherever it stands.

    Args:
        tokenizer: what speaks the ids.
        before: ids that stand before the text; their last one gives the context of its first.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(before[-1:])
        self._shown = len(tokenizer.decode(self._ids))

    def add(self, token: int) -> str:
        """What has become readable with this id; a character comes when all its bytes are there."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        if text.endswith("\ufffd"):
            return ""
        return self._advance(text)

    def rest(self) -> str:
        """What never became whole, as replacement characters."""
        return self._advance(self._tokenizer.decode(self._ids))

    def _advance(self, text: str) -> str:
        piece = text[self._shown :]
        self._ids = self._ids[-1:]
        self._shown = len(self._tokenizer.decode(self._ids))
        return piece


class StopWatch:
    """Holds back the end of a text while it may be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def add(self, piece: str) -> tuple[str, str | None]:
        """The text that may be shown, and the stop string that ended it, if one did."""
        text = self._held + piece
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            at, stop = min(found, key=lambda pair: (pair[0], -len(pair[1])))
            self._held = ""
            return text[:at], stop
        longest = max((self._overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - longest :]
        return text[: len(text) - longest], None

    def rest(self) -> str:
        """What was held back, when nothing follows."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Characters at the end of the text that begin the stop string."""
        most = min(len(text), len(stop) - 1)
        return next((n for n in range(most, 0, -1) if text.endswith(stop[:n])), 0)


def spelled(tokenizer: Tokenizer, token: int) -> str:
    """A token as a string of its own; token_id:N where it is no text by itself."""
    text = tokenizer.decode([token])
    return text if text and "\ufffd" not in text else f"token_id:{token}"
