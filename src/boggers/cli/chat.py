"""`boggers chat`: talk with a run in the terminal and watch its tension."""

import io
import queue
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from boggers.cli.parse import parse
from boggers.cli.relaxing import Relaxing
from boggers.cli.serve import require_extra
from boggers.errors import UserError
from boggers.infer.sampling import Sampling
from boggers.serve.dials import dials_for
from boggers.serve.limits import Limits
from boggers.serve.mind import load_mind
from boggers.serve.template import STOPS, render
from boggers.serve.work import Ended, Event, Failed, Job, Piece, Ticket
from boggers.train.run import choose_device

if TYPE_CHECKING:
    from boggers.serve.engine import ServingEngine

NEW, QUIT = "/new", "/quit"
"""Said instead of words: begin another conversation; end."""

WIDTH, BARS = 12, 8
"""Characters of the longest bar of tension, and how many bars there are."""


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """What `boggers chat` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    system: str | None = None
    """What stands before the conversation."""

    plain: bool = False
    """Go on with what you write as it is, without the template of a conversation."""

    max_tokens: int = 200
    """Longest answer, in tokens."""

    seed: int = 42
    """Fixes the random draws: the same seed and the same words give the same answers."""

    relaxing: Relaxing = field(default_factory=Relaxing)

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    sampling: Sampling = field(default_factory=lambda: Sampling(stop_at_separator=True))

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UserError(f"--max-tokens must be at least 1; it is {self.max_tokens}.")


class Conversation:
    """What has been said, and the text by which a model is shown it.

    Args:
        system: what stands before it all.
        plain: one text that both sides go on with, instead of the template of a conversation.
    """

    def __init__(self, system: str | None, *, plain: bool) -> None:
        self._plain = plain
        self._turns = [] if system is None else [("system", system)]

    def add(self, role: str, said: str) -> None:
        """The person, `user`, or the model, `assistant`, says something."""
        self._turns.append((role, said))

    @property
    def prompt(self) -> str:
        """All of it, up to where the model is to go on."""
        return "".join(said for _, said in self._turns) if self._plain else render(self._turns)


def run(argv: list[str]) -> None:
    """Ask, answer, and again, until the input ends."""
    options = parse(
        ChatOptions,
        argv,
        verb="chat",
        description="Talk with a trained run and watch its tension. Ctrl-C ends an answer; an "
        f"empty line, {QUIT} or Ctrl-D ends the conversation; {NEW} begins another.",
    )
    require_extra()
    if isinstance(sys.stdin, io.TextIOWrapper):
        # What is no UTF-8 arrives all the same, and can be told.
        sys.stdin.reconfigure(errors="surrogateescape")
    _talk(options, Console(highlight=False))


def _talk(options: ChatOptions, console: Console) -> None:
    # Here, so that the sentence about a missing extra comes first.
    from boggers.serve.engine import ServingEngine
    from boggers.serve.metrics import Metrics

    mind = load_mind(options.run, choose_device(options.device))
    asked = options.relaxing
    dials = dials_for(mind.model, asked.relax_steps, asked.relax_tolerance)
    limits = Limits(max_batch=1, max_choices=1)
    engine = ServingEngine(limits, Metrics())
    conversation = Conversation(options.system, plain=options.plain)
    seed = options.seed
    try:
        while said := _ask(console, plain=options.plain):
            if said == NEW:
                conversation, seed = Conversation(options.system, plain=options.plain), options.seed
                continue
            conversation.add("user", said)
            ids = mind.tokenizer.encode(conversation.prompt)
            if (over := len(ids) - limits.max_prompt_tokens) > 0:
                console.print(f"The oldest {over:,} tokens are no longer read.", style="dim")
            job = Job(
                mind=mind,
                ids=tuple(ids[-limits.max_prompt_tokens :]),
                dials=dials,
                sampling=options.sampling,
                max_tokens=options.max_tokens,
                seed=seed,
                stop=() if options.plain else STOPS,
                measure=True,
                seconds=limits.max_seconds,
            )
            conversation.add("assistant", _answer(engine, job, console))
            seed += 1
    finally:
        engine.close()


def _ask(console: Console, *, plain: bool) -> str:
    """What the person says; nothing at the end.

    Raises:
        UserError: it is not UTF-8, and nobody is there to write it again.
    """
    person = sys.stdin is not None and sys.stdin.isatty()
    while True:
        try:
            said = console.input("[bold]> [/bold]" if person else "") if sys.stdin else ""
            said.encode()
        except EOFError:
            if person:
                console.print()  # the shell's prompt is to stand on a line of its own
            return ""
        except UnicodeEncodeError as error:
            sentence = f"What you say must be UTF-8 text; character {error.start + 1} is none."
            if not person:
                raise UserError(sentence) from error
            console.print(f"{sentence} Write it again.", style="dim")
            continue
        if not (bare := said.strip()) or bare == QUIT:
            return ""
        return said if plain and bare != NEW else bare


def _answer(engine: "ServingEngine", job: Job, console: Console) -> str:
    """Show an answer as it comes, the tension of its latest tokens beside it."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def deliver(batch: Sequence[tuple[Ticket, Event]]) -> None:
        for _, event in batch:
            events.put(event)

    (ticket,) = engine.submit([job], deliver)
    answer = ""
    tensions: list[float] = []
    # A terminal shows both columns as they grow; elsewhere the text comes as it is.
    with (
        Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live
    ):
        try:
            while not isinstance(event := events.get(), Ended):
                if isinstance(event, Failed):
                    raise UserError(event.sentence)
                if not isinstance(event, Piece):
                    continue
                answer += event.text
                tensions += [t.physics.tension for t in event.tokens if t.physics is not None]
                if live is None:
                    print(event.text, end="", flush=True)
                else:
                    live.update(beside(answer, tensions), refresh=True)
        except KeyboardInterrupt:  # the answer is long enough
            ticket.cancel()
    if live is None:
        print()
    if tensions:
        mean = sum(tensions) / len(tensions)
        console.print(
            f"{len(tensions)} tokens · tension {mean:.3f} on average, "
            f"{tensions[-1]:.3f} at the end",
            style="dim",
        )
    return answer


def beside(text: str, tensions: Sequence[float]) -> Table:
    """The text, and to its right a bar for the tension of each of the latest tokens."""
    most = max(tensions, default=0.0) or 1.0
    bars = [
        f"{value:7.3f} {'▇' * max(1, round(WIDTH * value / most))}" for value in tensions[-BARS:]
    ]
    columns = Table.grid(expand=True, padding=(0, 2))
    columns.add_column(ratio=1)
    columns.add_column(width=WIDTH + 9, no_wrap=True)
    columns.add_row(Text(text.lstrip()), Text("\n".join(["tension", *bars]), style="cyan"))
    return columns
