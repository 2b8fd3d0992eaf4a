"""Options from a config dataclass: flags flattened, mistakes told in one sentence."""

import contextlib
import difflib
import io
import re
from collections.abc import Sequence
from typing import TypeVar

import tyro

from boggers.errors import UserError

Options = TypeVar("Options")

MISSING = r"^[│| ] {5}([A-Z]+|--[\w-]+)\b"
"""A line of the box that names a required argument; its help stands further to the right."""


def parse(
    kind: type[Options],
    argv: Sequence[str],
    *,
    verb: str,
    description: str,
    default: Options | None = None,
) -> Options:
    """The options in `argv` as a value of type `kind`; `--help` prints them and exits.

    Every field, however deeply nested, becomes `--its-name` without the names around it;
    underscores are accepted in place of hyphens.

    Args:
        kind: a dataclass whose field docstrings are the help.
        argv: the arguments after the verb.
        verb: the verb, for the messages.
        description: what `--help` says first.
        default: values of the options that are not given.

    Raises:
        UserError: an unknown option or a value that it does not take.
    """
    captured = io.StringIO()
    program = f"boggers {verb}"
    try:
        with contextlib.redirect_stderr(captured):
            options = tyro.cli(
                kind,
                args=list(argv),
                prog=program,
                description=description,
                default=default,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands),
            )
    except SystemExit as end:
        if not end.code:
            raise
        refused = _refusal(end)
        sentence = str(refused) if refused else unboxed(captured.getvalue())
        raise UserError(f"{sentence} See {program} --help.") from end
    assert options is not None
    return options


def unboxed(text: str) -> str:
    """The message inside one of the parser's boxes, with its best suggestion, on one line."""
    if "Missing from" in text:
        return f"This is required: {' and '.join(re.findall(MISSING, text, re.MULTILINE))}."
    parts: list[list[str]] = [[]]
    for line in text.splitlines()[1:]:  # the first line is the box's title
        words = line.strip("│| \t")
        if re.fullmatch("[─╰╯+-]{5,}", words):
            parts.append([])
        elif words:
            parts[-1].append(words)
    message, *rest = [" ".join(part) for part in parts if part] or ["The options cannot be read"]
    return f"{message.rstrip('.')}.{_suggestion(message, rest)}"


def _suggestion(message: str, rest: Sequence[str]) -> str:
    """The flag that is most like the first one in the message, of those that the box offers."""
    wrong = re.search(r"--[\w-]+", message)
    offered = [
        flag
        for part in rest
        if part.startswith(("Perhaps you meant", "Arguments similar to"))
        for flag in re.findall(r"--[\w-]+", part)
        if wrong and flag != wrong[0]
    ]
    if not wrong or not offered:
        return ""
    return f" Did you mean {difflib.get_close_matches(wrong[0], offered, n=1, cutoff=0.0)[0]}?"


def _refusal(end: BaseException) -> UserError | None:
    """The sentence with which a config refused its values, before the parser put it in a box."""
    cause: BaseException | None = end
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = cause.__context__
    return None
