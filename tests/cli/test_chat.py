"""Whole conversations with a real run: in a terminal, through a pipe, and with odd words."""

import contextlib
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boggers.cli.chat import Conversation
from boggers.cli.main import main
from boggers.infer.engine import Engine
from boggers.infer.sampling import Sampling

END = re.compile(r"(\d+) tokens · tension \d\.\d+ on average, \d\.\d+ at the end")
Chat = Callable[..., tuple[int, str, str]]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Chat:
    """Say lines to a run, through a pipe; returns the exit code and both streams."""

    def talk(run: Path, said: bytes | str, *options: str, errors: str = "strict") -> object:
        content = said.encode() if isinstance(said, str) else said
        pipe = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors=errors)
        monkeypatch.setattr(sys, "stdin", pipe)
        capsys.readouterr()
        code = main(["chat", str(run), "--device", "cpu", "--max-tokens", "12", *options])
        return code, *capsys.readouterr()

    return talk  # type: ignore[return-value]


def answers(out: str) -> list[str]:
    """What the model said, turn by turn."""
    parts = END.split(out)
    return [part.removeprefix("\n").removesuffix("\n") for part in parts[0:-1:2]]


def written(run: Path, prompt: str, seed: int, tokens: int = 12) -> str:
    """How `boggers generate` goes on."""
    sampling = Sampling(stop_at_separator=True)
    whole = Engine.load(run).generate(prompt, max_tokens=tokens, seed=seed, sampling=sampling)
    return whole.removeprefix(prompt)


def test_every_turn_goes_on_from_all_that_was_said(any_run: Path, chat: Chat) -> None:
    lines = "the Fox\n  sees a hill \n/new\nthe Fox\n/quit\nnever read\n"
    code, out, err = chat(any_run, lines, "--seed", "5", "--system", "Ann runs.")
    assert (code, err) == (0, "")
    begun = "Ann runs.\n\nUser: the Fox\nAssistant:"
    first = written(any_run, begun, 5)
    then = f"{begun} {first.strip()}\nUser: sees a hill\nAssistant:"
    second = written(any_run, then, 6)
    # Another conversation begins as the first one did.
    assert answers(out) == [first, second, first]
    assert END.findall(out) == ["12"] * 3


def test_plain_words_are_gone_on_with_as_they_are(stream_run: Path, chat: Chat) -> None:
    code, out, _ = chat(stream_run, " the Fox\n and Ann\n", "--plain", "--seed", "5")
    assert code == 0
    first = written(stream_run, " the Fox", 5)
    assert answers(out) == [first, written(stream_run, f" the Fox{first} and Ann", 6)]
    told = Conversation("S", plain=True)
    told.add("user", "a ")
    assert told.prompt == "Sa "


@pytest.mark.parametrize("said", ["", "\n", "   \nnever read\n", "/quit", "no line's end"])
def test_the_end_of_the_input_ends_in_order(stream_run: Path, chat: Chat, said: str) -> None:
    code, out, err = chat(stream_run, said)
    assert (code, err) == (0, "")
    assert len(answers(out)) == (said == "no line's end")


def test_odd_words_are_words(stream_run: Path, chat: Chat) -> None:
    odd = ["\0\x01\x1b[2J", "\U0001f98a é \u202e", "[bold]not markup[/bold]", "User:", "/never"]
    code, out, err = chat(stream_run, "\n".join([*odd, "x" * 40_000]), "--max-tokens", "3")
    assert (code, err) == (0, "")
    assert END.findall(out) == ["3"] * 6
    assert "tokens are no longer read" in out


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_is_no_text_is_told_in_a_line(stream_run: Path, chat: Chat, errors: str) -> None:
    code, out, err = chat(stream_run, b"the Fox\nsees\xff\xfe\n", errors=errors)
    assert code == 2
    assert len(answers(out)) == 1
    assert err == "boggers: What you say must be UTF-8 text; character 5 is none.\n"


def at_a_terminal() -> None:
    """What a shell sees to: Ctrl-C reaches the program and is not ignored."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """`boggers chat` in a terminal of 80 columns, and somebody who types."""

    def __init__(self, run: Path, *options: str) -> None:
        self._end, other = pty.openpty()
        self._shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "boggers", "chat", str(run), "--device", "cpu", *options],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=at_a_terminal,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LC_ALL": "C.UTF-8"},
        )
        os.close(other)

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def shows(self, wanted: str, seconds: float = 120) -> str:
        """Everything up to these words; what comes after them is for the next time."""
        end = time.monotonic() + seconds
        while wanted.encode() not in self._shown:
            assert time.monotonic() < end, self._shown
            if select.select([self._end], [], [], 0.2)[0]:
                try:
                    piece = os.read(self._end, 65_536)
                except OSError:  # the other side has gone
                    piece = b""
                assert piece, self._shown
                self._shown += piece
        before, _, self._shown = self._shown.partition(wanted.encode())
        return before.decode(errors="replace") + wanted

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        with contextlib.suppress(OSError):
            os.close(self._end)


@pytest.fixture
def terminal(stream_run: Path) -> Iterator[Terminal]:
    made = Terminal(stream_run, "--max-tokens", "3000")
    yield made
    made.close()


CTRL_C, CTRL_D = b"\x03", b"\x04"


def test_a_person_talks_in_a_terminal(terminal: Terminal) -> None:
    terminal.shows("> ")
    terminal.type(b"the Fox\n")
    # It comes piece by piece, a bar of tension for every token beside it.
    for _ in range(3):
        assert "at the end" not in terminal.shows("tension") + terminal.shows("▇")
    terminal.type(CTRL_C)
    (tokens,) = END.findall(terminal.shows("at the end"))
    assert 0 < int(tokens) < 3000
    terminal.shows("> ")
    terminal.type(b"caf\xe9\n")
    terminal.shows("Write it again.")
    terminal.type("café\n".encode())
    terminal.shows("tension")
    terminal.type(CTRL_C)
    terminal.shows("at the end")
    terminal.shows("> ")
    terminal.type(CTRL_D)
    assert terminal.process.wait(60) == 0


def test_an_interrupt_between_turns_is_told_in_a_line(terminal: Terminal) -> None:
    terminal.shows("> ")
    terminal.type(CTRL_C)
    terminal.shows("boggers: interrupted.")
    assert terminal.process.wait(60) == 130
