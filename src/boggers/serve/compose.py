"""From a request to jobs, and from their events to OpenAI's objects."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from boggers.infer.sampling import Sampling
from boggers.serve.errors import ApiError
from boggers.serve.house import House
from boggers.serve.mind import Mind
from boggers.serve.physics import Physics
from boggers.serve.schema import Drawn
from boggers.serve.states import Saved
from boggers.serve.transcript import Transcript
from boggers.serve.work import Ended, Event, Job, Piece, PromptRead, Told


def sampling_of(request: Drawn, mind: Mind) -> Sampling:
    """How a request wants tokens to be drawn.

    Raises:
        ApiError: `logit_bias` names an id that the model does not know.
    """
    bias: dict[int, float] = {}
    for name, change in (request.logit_bias or {}).items():
        # Digits only: int() would also take what looks like a number to Python alone.
        token = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else -1
        if not 0 <= token < mind.model.vocab_size:
            sentence = (
                f"logit_bias must name token ids from 0 to {mind.model.vocab_size - 1}, "
                f"{name[:20]!r} came."
            )
            raise ApiError(400, sentence, "invalid_value", "logit_bias")
        bias[token] = change
    return Sampling(
        temperature=request.temperature,
        top_k=request.top_k if request.top_k and request.top_k > 0 else None,
        top_p=request.top_p if request.top_p < 1 else None,
        min_p=request.min_p or None,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        repeat_penalty=request.repeat_penalty,
        no_repeat_last_extra=request.no_repeat_last_extra,
        logit_bias=bias,
        stop_at_separator=not request.ignore_eos,
    )


def jobs_of(
    house: House,
    request: Drawn,
    prompts: Sequence[str | Sequence[int]],
    *,
    max_tokens: int,
    client: str,
    choices: int | None = None,
    top_logprobs: int | None = None,
    echo: bool = False,
    stop: Sequence[str] = (),
) -> list[Job]:
    """One job for every prompt of a request.

    Raises:
        ApiError: a limit is exceeded, or something named does not exist.
        UserError: a value is impossible for this model.
    """
    mind = house.named(request.model)
    limits = house.limits
    count = request.n if choices is None else choices
    for what, value, most in (
        ("max_tokens", max_tokens, limits.max_tokens),
        ("n", request.n, limits.max_choices),
        ("best_of", count, limits.max_choices),
        ("prompt", len(prompts), limits.max_prompts),
    ):
        if value > most:
            noun = "prompts" if what == "prompt" else what
            sentence = f"{noun} may be at most {most:,}, {value:,} came."
            raise ApiError(400, sentence, "invalid_value", what)
    begin = None if request.state is None else house.state(request.state, mind)
    if begin is not None and echo:
        raise ApiError(400, "echo needs a prompt without a state.", "invalid_value", "echo")
    dials = house.dials(request, mind, begin)
    sampling = sampling_of(request, mind)
    seed = secrets.randbits(62) if request.seed is None else request.seed
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return [
        Job(
            mind=mind,
            ids=tuple(house.prompt(prompt, mind, after=begin is not None)),
            dials=dials,
            begin=begin,
            sampling=sampling,
            max_tokens=max_tokens,
            choices=count,
            seed=seed,
            stop=(*stops, *stop),
            top_logprobs=top_logprobs,
            echo=echo,
            measure=request.attractor_meta,
            save=request.save_state,
            seconds=limits.max_seconds,
            client=request.user or client,
        )
        for prompt in prompts
    ]


@dataclass
class Draft:
    """One choice as it grows; `take` says what is new in it."""

    job: Job
    transcript: Transcript
    text: str = ""
    told: list[Told] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    ended: Ended | None = None
    _length: int = 0

    @classmethod
    def begin(cls, job: Job) -> "Draft":
        """Nothing written yet."""
        before = () if job.echo else (*(job.begin.tail if job.begin else ()), *job.ids)
        return cls(job, Transcript(job.mind.tokenizer, before))

    def prompt(self, read: PromptRead) -> None:
        """The prompt belongs to the text, if echoing was asked for."""
        if self.job.echo:
            self.text += self.job.mind.tokenizer.decode(self.job.ids)
            self._tell(read.tokens)

    def piece(self, piece: Piece) -> None:
        """Go on with a piece."""
        self.text += piece.text
        self._tell(piece.tokens)

    def _tell(self, tokens: Sequence[Told]) -> None:
        for told in tokens:
            self.offsets.append(self._length)
            self._length += len(self.transcript.add(told.id))
            self.told.append(told)


class Drafts:
    """The choices of all jobs of a request."""

    def __init__(self, house: House, jobs: Sequence[Job]) -> None:
        self.house = house
        self.jobs = jobs
        self.rows = [[Draft.begin(job) for _ in range(job.choices)] for job in jobs]
        self.cached = 0
        self.written = 0

    def take(self, number: int, event: Event) -> Draft | None:
        """Note an event; the draft that it changed, if it was one."""
        if isinstance(event, PromptRead):
            self.cached += event.cached
            for draft in self.rows[number]:
                draft.prompt(event)
            return None
        if isinstance(event, Piece):
            draft = self.rows[number][event.choice]
            draft.piece(event)
            return draft
        if isinstance(event, Ended):
            draft = self.rows[number][event.choice]
            draft.ended = event
            self.written += event.written
            if event.saved is not None:
                self.house.states.keep(event.saved)
            return draft
        return None

    def best(self, wanted: int) -> list[Draft]:
        """Of every job the best choices by mean log-probability, best first if it has more."""
        chosen: list[Draft] = []
        for row in self.rows:
            ordered = row
            if len(row) > wanted:
                ordered = sorted(row, key=lambda draft: -_mean_logprob(draft))
            chosen += ordered[:wanted]
        return chosen

    def usage(self) -> dict[str, Any]:
        """Tokens read and written."""
        read = sum(len(job.ids) for job in self.jobs)
        return {
            "prompt_tokens": read,
            "completion_tokens": self.written,
            "total_tokens": read + self.written,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


def _mean_logprob(draft: Draft) -> float:
    ended = draft.ended
    return ended.logprob if ended is not None and ended.logprob is not None else float("-inf")


def head(kind: str, prefix: str, mind: Mind) -> dict[str, Any]:
    """What every answer begins with."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": mind.name,
        "system_fingerprint": mind.fingerprint,
    }


def logprobs_of(told: Sequence[Told], offsets: Sequence[int], top: int | None) -> Any:
    """OpenAI's object for completions; None if no log-probabilities were asked for."""
    if top is None:
        return None
    return {
        "tokens": [one.text for one in told],
        "token_logprobs": [one.logprob for one in told],
        "top_logprobs": [_with_own(one) for one in told] if top else None,
        "text_offset": list(offsets),
    }


def _with_own(told: Told) -> dict[str, float] | None:
    """The likeliest tokens, and the one that was drawn if it is not among them."""
    if told.logprob is None:
        return None
    return {**dict(told.top), told.text: told.logprob}


def chat_logprobs_of(told: Sequence[Told], top: int | None) -> Any:
    """OpenAI's object for chats."""
    if top is None:
        return None

    def one(text: str, logprob: float | None) -> dict[str, Any]:
        spelled = None if text.startswith("token_id:") else list(text.encode())
        return {"token": text, "logprob": logprob, "bytes": spelled}

    return {
        "content": [
            {
                **one(told_one.text, told_one.logprob),
                "top_logprobs": [one(text, logprob) for text, logprob in told_one.top],
            }
            for told_one in told
        ]
    }


def attractor_meta(job: Job, told: Sequence[Told], house: House) -> dict[str, Any] | None:
    """How these tokens settled; None unless that was asked for."""
    if not job.measure:
        return None
    physics: list[Physics | None] = [one.physics for one in told]
    last = next((one for one in reversed(physics) if one is not None), None)
    meta: dict[str, Any] = {
        "energy": [None if one is None else one.energy for one in physics],
        "tension": [None if one is None else one.tension for one in physics],
        "relax_steps": [None if one is None else one.steps for one in physics],
        "residual": [None if one is None else one.residual for one in physics],
        "energy_curve": [] if last is None else list(last.energies),
        "tension_curve": [] if last is None else list(last.tensions),
    }
    if house.graph is not None:
        now = house.graph.tension()
        meta |= {"ts_tension": now.ts_tension, "evolve_count": now.evolve_count}
    return meta


def ending(draft: Draft) -> dict[str, Any]:
    """How a choice ended, and the name of its state if it was kept."""
    ended = draft.ended
    if ended is None:
        return {"finish_reason": None}
    said: dict[str, Any] = {"finish_reason": ended.reason, "stop_reason": ended.matched}
    if ended.why == "time":
        said["stop_reason"] = "time"
    if ended.saved is not None:
        said["state"] = ended.saved.id
    return said


def saved_in(events: Sequence[tuple[int, Event]]) -> Saved:
    """The state that a job kept at its end."""
    return next(e.saved for _, e in events if isinstance(e, Ended) and e.saved is not None)
