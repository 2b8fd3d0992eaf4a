"""One continuation while it is being written."""

import torch
from torch import Tensor

from boggers.infer.sampling import draw
from boggers.serve.flock import Place
from boggers.serve.physics import Physics
from boggers.serve.states import TAIL, Saved
from boggers.serve.transcript import StopWatch, Transcript, spelled
from boggers.serve.work import Ended, Piece, Reason, Ticket, Told, Why
from boggers.text.base import Tokenizer


class Writing:
    """Draws tokens for one choice of a job and turns them into pieces of text.

    Args:
        ticket: whose it is. choice: which of its choices.
        tail: latest ids of the text so far; the last one is to be read next.
        tokens: how many ids the text has in all.
    """

    def __init__(self, ticket: Ticket, choice: int, tail: tuple[int, ...], tokens: int) -> None:
        job = ticket.job
        self.ticket = ticket
        self.choice = choice
        self.ids = list(tail)
        self.before = tokens
        self.written = 0
        self.told_at = 0.0
        self._generator = torch.Generator().manual_seed(job.seed + choice)
        self._transcript = Transcript(job.mind.tokenizer, tail)
        self._watch = StopWatch(job.stop)
        self._untold: list[Told] = []
        self._logprob = 0.0

    @property
    def latest(self) -> int:
        """The id that is to be read next."""
        return self.ids[-1]

    @property
    def wants_logprobs(self) -> bool:
        """Whether anybody reads the log-probabilities."""
        job = self.ticket.job
        return job.top_logprobs is not None or job.choices > 1 or job.measure

    def draw(self, logits: Tensor) -> int:
        """The next id from logits (V), float64, on the processor."""
        return draw(logits, self.ids, self.ticket.job.sampling, self._generator, self.written)

    def write(
        self, token: int, logprobs: Tensor | None, physics: Physics | None
    ) -> tuple[Piece | None, Ended | None]:
        """Take the drawn id: what can be shown now, and whether that was all.

        Args:
            token: what `draw` said.
            logprobs: (V), of the unshaped distribution; None if nobody wants to know.
            physics: the settling it was read from; None if nobody wants to know.
        """
        job = self.ticket.job
        tokenizer = job.mind.tokenizer
        self.ids.append(token)
        self.written += 1
        chosen = None if logprobs is None else float(logprobs[token])
        self._logprob += chosen or 0.0
        told = job.top_logprobs is not None or job.measure
        self._untold.append(
            Told(
                token,
                spelled(tokenizer, token) if told else "",
                chosen,
                likeliest(job.mind.tokenizer, logprobs, job.top_logprobs),
                physics if job.measure else None,
            )
        )
        if job.sampling.stop_at_separator and token == tokenizer.separator_id:
            # It is no text, but it was drawn: its log-probability is told like any other.
            return self._end("stop", "separator")
        text, stop = self._watch.add(self._transcript.add(token))
        if stop is not None:
            piece = self._piece(text)
            return piece, self._ended("stop", "stop string", stop)
        if self.written >= job.max_tokens:
            return self._end("length", "max_tokens", text)
        return (self._piece(text) if text else None), None

    def stop(self) -> tuple[Piece | None, Ended]:
        """End here because the time is over."""
        return self._end("length", "time")

    def saved(self, place: Place) -> Saved:
        """Where the text stands, its last id still to be read."""
        job = self.ticket.job
        keep = max(TAIL, job.mind.trained_length if job.mind.architecture == "window" else 0)
        return Saved(
            place,
            tuple(self.ids[-keep:]),
            self.before + self.written,
            job.dials.steps,
            job.mind.fingerprint,
        )

    def _end(self, reason: Reason, why: Why, text: str = "") -> tuple[Piece | None, Ended]:
        """Show what was held back, and be done."""
        last, stop = self._watch.add(self._transcript.rest())
        if stop is not None:
            return self._piece(text + last), self._ended("stop", "stop string", stop)
        text += last + self._watch.rest()
        piece = self._piece(text) if text or self._untold else None
        return piece, self._ended(reason, why)

    def _ended(self, reason: Reason, why: Why, matched: str | None = None) -> Ended:
        mean = self._logprob / self.written if self.written else 0.0
        several = self.ticket.job.choices > 1
        return Ended(self.choice, reason, why, matched, self.written, mean if several else None)

    def _piece(self, text: str) -> Piece:
        piece = Piece(self.choice, text, tuple(self._untold))
        self._untold.clear()
        return piece


def likeliest(
    tokenizer: Tokenizer, logprobs: Tensor | None, count: int | None
) -> tuple[tuple[str, float], ...]:
    """The `count` likeliest tokens as strings with their ln p, likeliest first."""
    if logprobs is None or not count:
        return ()
    best = logprobs.topk(min(count, len(logprobs)))
    return tuple(
        (spelled(tokenizer, token), value)
        for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
