"""A prompt while it is being read."""

import torch

from boggers.serve.flock import Driver, Stretch
from boggers.serve.prefixes import CHUNK, PrefixCache, beginnings
from boggers.serve.states import TAIL
from boggers.serve.transcript import spelled
from boggers.serve.work import PromptRead, Ticket, Told
from boggers.serve.writing import Writing, likeliest


class Reading:
    """Reads all of a prompt but its last token, a chunk at a time.

    The last token is read by the flock, so that what is drawn first is drawn from a full block
    like everything after it.

    Args:
        ticket: whose prompt it is.
        driver: what reads it.
        cache: beginnings that are known.
    """

    def __init__(self, ticket: Ticket, driver: Driver, cache: PrefixCache) -> None:
        job = ticket.job
        self.ticket = ticket
        self.driver = driver
        self._cache = cache
        self._key = (job.mind.fingerprint, job.dials)
        pending = () if job.begin is None else job.begin.tail[-1:]
        self._ids = (*pending, *job.ids)
        self._end = len(self._ids) - 1
        self._at = 0
        self.cached = 0
        self.place = driver.start() if job.begin is None else job.begin.place
        self._told: list[Told] = []
        self._reusable = driver.remembers and job.begin is None and not job.echo
        self._digests = dict(beginnings(self._ids[:-1])) if self._reusable else {}
        if self._reusable:
            known, place = cache.longest(self._key, self._ids[:-1])
            if place is not None:
                self._at, self.cached, self.place = known, known, place
        elif job.begin is not None:
            self.cached = job.begin.tokens

    @property
    def done(self) -> bool:
        """Whether only the last token is left."""
        return self._at >= self._end

    def advance(self) -> int:
        """Read the next chunk; how many tokens that were."""
        job = self.ticket.job
        last = min(self._at + CHUNK, self._end)
        ids = self._ids[self._at : last]
        stretch = self.driver.read(
            ids, self.place, every=job.echo, measure=job.echo and job.measure
        )
        if job.echo:
            self._tell(stretch)
        self.place, self._at = stretch.place, last
        if self._reusable:
            cost = self.driver.bytes_of(self.place)
            self._cache.keep(self._key, self._digests[last], self.place, cost)
        return len(ids)

    def report(self) -> PromptRead:
        """What is to be told of the prompt."""
        if not self.ticket.job.echo:
            return PromptRead(self.cached)
        tokenizer = self.ticket.job.mind.tokenizer
        first = () if self.ticket.job.begin is not None else self._ids[:1]
        beginning = tuple(Told(token, spelled(tokenizer, token)) for token in first)
        return PromptRead(self.cached, (*beginning, *self._told))

    def writings(self) -> list[Writing]:
        """One for every choice, each at the end of the prompt."""
        job = self.ticket.job
        begin = job.begin
        seen = (*(() if begin is None else begin.tail), *job.ids)
        tokens = (0 if begin is None else begin.tokens) + len(job.ids)
        keep = max(TAIL, job.mind.trained_length if job.mind.architecture == "window" else 0)
        tail = tuple(seen[-keep:])
        return [Writing(self.ticket, choice, tail, tokens) for choice in range(job.choices)]

    def _tell(self, stretch: Stretch) -> None:
        """What was thought of the tokens that follow those of a stretch."""
        assert stretch.logits is not None
        job = self.ticket.job
        tokenizer = job.mind.tokenizer
        logprobs = wide(stretch.logits).log_softmax(dim=-1)
        following = self._ids[self._at + 1 : self._at + 1 + len(logprobs)]
        for place, token in enumerate(following):
            self._told.append(
                Told(
                    token,
                    spelled(tokenizer, token),
                    float(logprobs[place, token]),
                    likeliest(tokenizer, logprobs[place], job.top_logprobs),
                    stretch.physics[place] if stretch.physics else None,
                )
            )


def wide(logits: torch.Tensor) -> torch.Tensor:
    """Logits on the processor in double precision."""
    return logits.cpu().double()
