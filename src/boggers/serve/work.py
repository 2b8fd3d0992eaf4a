"""What the engine is asked for, and what it answers: plain values, no tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from boggers.infer.sampling import Sampling
from boggers.serve.dials import Dials
from boggers.serve.mind import Mind
from boggers.serve.physics import Physics
from boggers.serve.states import Saved

Reason = Literal["stop", "length"]
Why = Literal["separator", "stop string", "max_tokens", "time"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One prompt and how it is to be continued.

    Attributes:
        mind: whose ids these are.
        ids: the prompt; empty only where `begin` stands for it.
        begin: a saved state to go on from.
        dials: how states settle.
        sampling: how tokens are drawn; the separator ends a text if it says so.
        max_tokens: tokens to write for each choice; 0 only reads.
        choices: continuations to write; choice i draws with seed + i.
        seed: of the first choice.
        stop: strings that end a text and are not part of it.
        top_logprobs: likeliest tokens to tell at every place; None = no log-probabilities.
        echo: tell the prompt's own log-probabilities and physics too.
        measure: tell the physics of every token.
        save: keep the state of every choice at its end.
        seconds: what all of it may take, from submission on.
        client: whose turn it is in the queue.
    """

    mind: Mind
    ids: tuple[int, ...]
    dials: Dials
    begin: Saved | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 16
    choices: int = 1
    seed: int = 42
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    echo: bool = False
    measure: bool = False
    save: bool = False
    seconds: float = 300.0
    client: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """One token, and what is known of it.

    Attributes:
        id: the token.
        text: the token as a string of its own.
        logprob: ln p of it before sampling shaped anything; None if nothing predicted it.
        top: likeliest tokens and their ln p; empty if they were not asked for.
        physics: the settling that it was read from; None if it was not asked for.
    """

    id: int
    text: str
    logprob: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    physics: Physics | None = None


@dataclass(frozen=True, slots=True)
class PromptRead:
    """The prompt has been read: how much of it was known, and what was asked about it."""

    cached: int
    tokens: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that a choice has gone on with; `tokens` are those it consists of."""

    choice: int
    text: str
    tokens: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """A choice is finished.

    Attributes:
        choice: which.
        reason: what OpenAI calls it; why: what happened; matched: the stop string.
        written: tokens drawn, those that ended the text included.
        logprob: mean ln p of them; 0 for none. None unless several choices compete.
        saved: where it stands, if that was asked for.
    """

    choice: int
    reason: Reason
    why: Why
    matched: str | None
    written: int
    logprob: float | None
    saved: Saved | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job has ended without an answer; nothing follows."""

    kind: Literal["closed", "timeout", "broken"]
    sentence: str


Event = PromptRead | Piece | Ended | Failed

Deliver = Callable[[Sequence[tuple["Ticket", Event]]], None]
"""Takes what happened in one turn of the engine; called in the engine's thread."""


class Ticket:
    """What a client holds of its job.

    Args:
        job: what it asked for.
        deliver: where its events go.
        submitted: when, on the monotonic clock.
    """

    def __init__(self, job: Job, deliver: Deliver, submitted: float) -> None:
        self.job = job
        self.deliver = deliver
        self.submitted = submitted
        self.cancelled = False

    @property
    def deadline(self) -> float:
        """When its time is over, on the monotonic clock."""
        return self.submitted + self.job.seconds

    def over(self, now: float) -> bool:
        """Whether nobody waits for it any more, or its time has run out."""
        return self.cancelled or now >= self.deadline

    def cancel(self) -> None:
        """Nobody waits for it any more; from any thread, as often as you like."""
        self.cancelled = True
