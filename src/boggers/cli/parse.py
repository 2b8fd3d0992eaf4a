"""Options from a config dataclass: flags flattened, mistakes told in one sentence."""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import TypeVar

import tyro

from boggers.errors import UserError

Options = TypeVar("Options")


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
            return tyro.cli(
                kind,
                args=list(argv),
                prog=program,
                description=description,
                default=default,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as end:
        if not end.code:
            raise
        refused = _refusal(end)
        sentence = str(refused) if refused else unboxed(captured.getvalue())
        raise UserError(f"{sentence} See {program} --help.") from end


def unboxed(text: str) -> str:
    """The sentences inside one of the parser's boxes, its suggestion included, on one line."""
    parts: list[list[str]] = [[]]
    for line in text.splitlines()[1:]:  # the first line is the box's title
        if re.search("─{3,}", line):
            parts.append([])
        elif words := line.strip("│ \t"):
            parts[-1].append(words)
    message = " ".join(parts[0]) if parts[0] else "The options cannot be read"
    sentence = message.rstrip(".") + "."
    for part in parts[1:]:
        if part and part[0].startswith("Perhaps you meant") and len(part) > 1:
            sentence += f" Did you mean {_flag(part[1])}?"
    return sentence


def _flag(usage: str) -> str:
    """The flag itself in a line such as `--breaks, --no-breaks` or `--lr FLOAT`."""
    return re.split(r"[ ,]", usage, maxsplit=1)[0]


def _refusal(end: BaseException) -> UserError | None:
    """The sentence with which a config refused its values, before the parser put it in a box."""
    cause: BaseException | None = end
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = cause.__context__
    return None
