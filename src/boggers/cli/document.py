"""Writes docs/cli.md from every verb's `--help`; with `--check` only says whether it is current.

Run as `python -m boggers.cli.document`, from the root of the source tree.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from boggers.cli.main import VERBS
from boggers.files import write_text

PAGE = Path("docs/cli.md")
WIDTH = 100
OTHERS = ("stream", "token")
"""Architectures that are not the default: their options are shown besides."""


def main(argv: list[str]) -> int:
    """Write the page; with --check, 1 if it is not what would be written."""
    page = document()
    if "--check" not in argv:
        write_text(PAGE, page)
        print(f"{PAGE} written.")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
        print(f"{PAGE} is current.")
        return 0
    print(f"{PAGE} is not what the options say. Run: make fix", file=sys.stderr)
    return 1


def document() -> str:
    """The page: the overview, then the help of every verb and action."""
    sections = [
        "# The command line\n\nGenerated from the options themselves by "
        "`python -m boggers.cli.document`; do not edit.\n",
        f"```\n{_help([])}```\n",
    ]
    sections += [
        section
        for verb, sentence in VERBS.items()
        for section in (f"## boggers {verb}\n\n{sentence}\n", *_sections(verb))
    ]
    return "\n".join(sections)


def _sections(verb: str) -> Iterator[str]:
    """The help of a verb and of everything it can be followed by."""
    said = _help([verb])
    yield f"```\n{said}```\n"
    if verb == "train":
        for name in OTHERS:
            options = _help([verb, "--architecture", name])
            yield f"### boggers train --architecture {name}\n\n```\n{options}```\n"
    for action in re.findall(r"• (\w+)", said):
        yield f"### boggers {verb} {action}\n\n```\n{_help([verb, action])}```\n"


def _help(arguments: list[str]) -> str:
    """What `boggers … --help` prints, on a page of fixed width and without colour."""
    plain = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "boggers", *arguments, "--help"],
        env={**os.environ, **plain},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    lines = (line.rstrip() for line in done.stdout.strip().splitlines())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
