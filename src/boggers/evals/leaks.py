"""What would make held-out figures a lie, looked for before they are believed."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boggers.errors import UserError
from boggers.evals.overlap import covered, shared_spans
from boggers.infer.score import predictions, token_nats
from boggers.model.architectures import Model

LONG = 200
"""UTF-8 bytes of a span that two pieces of honest text seldom share."""

SHARE = 0.01
"""Share of the held-out bytes that may lie in such spans."""

CUTS = 3
REACH = 256
"""Tokens before a cut whose predictions must not change with what follows it."""

CHANGED = 1e-4
"""Nats by which rounding may change a prediction."""

Kind = Literal["trained on", "reads ahead"]


@dataclass(frozen=True)
class Leak:
    """One reason not to believe the figures: its name, and what was found."""

    kind: Kind
    detail: str

    @property
    def sentence(self) -> str:
        """Both in one line."""
        return f"LEAK ({self.kind}): {self.detail}"


@dataclass(frozen=True)
class Overlap:
    """What a held-out text shares with the training text, in spans of at least 200 bytes.

    Attributes:
        share: of the held-out bytes that lie in them.
        spans: how many there are. longest: bytes of the longest.
        start: token at which the longest begins, counted from the held-out text's first; None
            without spans.
    """

    share: float
    spans: int
    longest: int
    start: int | None


def overlap(trained: NDArray[Any], held_out: NDArray[Any], byte_lengths: NDArray[Any]) -> Overlap:
    """How much of a held-out text stands word for word in the training text.

    Args:
        trained, held_out: their ids.
        byte_lengths: UTF-8 bytes of each held-out token.
    """
    total = int(byte_lengths.sum(dtype=np.int64))
    # As many tokens as make 200 bytes on average, so that tokenizers find the same spans.
    length = max(8, round(LONG * len(held_out) / max(1, total)))
    (spans,) = shared_spans(trained, [held_out], length)
    sizes = [int(byte_lengths[span.start : span.stop].sum(dtype=np.int64)) for span in spans]
    inside = int(byte_lengths[covered(spans, len(held_out))].sum(dtype=np.int64))
    longest = int(np.argmax(sizes)) if sizes else None
    return Overlap(
        share=inside / max(1, total),
        spans=len(spans),
        longest=0 if longest is None else sizes[longest],
        start=None if longest is None else spans[longest].start,
    )


def trained_on(found: Overlap) -> list[Leak]:
    """A leak if more than 1 % of the held-out bytes are also in the training text."""
    if found.share <= SHARE:
        return []
    return [
        Leak(
            "trained on",
            f"{100 * found.share:.1f} % of the held-out bytes stand word for word in the training "
            f"text, in {found.spans} spans of {LONG} bytes or more (the longest has "
            f"{found.longest:,}, from held-out token {found.start:,}). The figures are too good.",
        )
    ]


def reads_ahead(model: Model, ids: NDArray[Any], start: int, stop: int) -> list[Leak]:
    """A leak if a prediction changes when the text from its token on is replaced.

    The text is scored twice around three cuts, by the very code that makes the figures; behind
    each cut all ids are others the second time. Predictions up to the cut's own token must stay.
    """
    worst, where = 0.0, None
    for cut in np.linspace(start, stop - 1, CUTS + 2)[1:-1].astype(int):
        first, last = max(start, int(cut) - REACH), min(stop, int(cut) + REACH)
        reach = int(cut) - first + 1
        begin = max(0, first - REACH)
        own = np.array(ids[begin:last], dtype=np.int64)
        other = own.copy()
        tail = other[int(cut) - begin :]
        shift = np.random.default_rng(int(cut)).integers(1, model.vocab_size, len(tail))
        tail[:] = (tail + shift) % model.vocab_size
        before, after = (
            _nats_of(model, text, first - begin, last - begin, own) for text in (own, other)
        )
        change = float(np.abs(before[:reach] - after[:reach]).max())
        if change > worst:
            worst, where = change, int(cut) - start
    if worst <= CHANGED:
        return []
    return [
        Leak(
            "reads ahead",
            f"the model is not causal: predictions before held-out token {where:,} changed by up "
            f"to {worst:.3g} nats when only the text from there on was replaced.",
        )
    ]


def _nats_of(
    model: Model, text: NDArray[Any], start: int, stop: int, truth: NDArray[Any]
) -> NDArray[np.float64]:
    """-ln p of the tokens of `truth`, predicted from `text`."""
    import torch

    found = []
    done = start
    for part in predictions(model, text, start, stop):
        targets = torch.from_numpy(truth[done : part.stop]).to(part.targets.device)
        found.append(token_nats(part.logits, targets).cpu().numpy())
        done = part.stop
    return np.concatenate(found)


def check_split(trained: range, held_out: range, tokens: int) -> None:
    """Refuse a recorded split in which a held-out token was trained on.

    Raises:
        UserError: the two parts overlap, or reach beyond the text.
    """
    overlapping = held_out.start < trained.stop and trained.start < held_out.stop
    if overlapping or held_out.stop > tokens or trained.stop > tokens:
        raise UserError(
            f"The split that the run recorded cannot be: it trained on tokens {trained.start}–"
            f"{trained.stop} and holds out {held_out.start}–{held_out.stop} of {tokens}. Its "
            "data.json has been changed; restore it."
        )
