"""Writes the figures of README.md from the recorded runs; with `--check` only compares them.

Run as `python -m boggers.cli.claims`, from the root of the source tree; with `--record RUN NAME`
it first keeps a run's figures and settings, or those of a contest of `boggers bench quality`, as
docs/runs/NAME.
"""

import sys
from pathlib import Path

from boggers.errors import UserError
from boggers.evals.claims import RECORDED, filled, record
from boggers.evals.contest_record import TRIALS, record_contest
from boggers.files import write_text

PAGES = (Path("README.md"),)


def main(argv: list[str], root: Path = Path()) -> int:
    """Write the figures; with --check, 1 if a page says others than were recorded."""
    if argv not in ([], ["--check"]) and not (argv[0] == "--record" and len(argv) == 3):
        print("usage: python -m boggers.cli.claims [--check | --record RUN NAME]", file=sys.stderr)
        return 2
    try:
        if argv[:1] == ["--record"]:
            print(f"{_record(Path(argv[1]), argv[2], root)} recorded.")
        stale = [page for page in PAGES if _stale(root / page, root)]
        if "--check" not in argv:
            for page in stale:
                write_text(root / page, filled((root / page).read_text(encoding="utf-8"), root))
                print(f"{page} written.")
            return 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    for page in stale:
        print(f"{page} has figures that no recorded run gave. Run: make fix", file=sys.stderr)
    if not stale:
        print(f"The figures of {', '.join(map(str, PAGES))} are those of the recorded runs.")
    return 1 if stale else 0


def _record(made: Path, name: str, root: Path) -> Path:
    if not (made / TRIALS).is_dir():
        return record(made, name, root)
    folder = root / RECORDED / name
    record_contest(made, folder)
    return folder


def _stale(page: Path, root: Path) -> bool:
    text = page.read_text(encoding="utf-8")
    return filled(text, root) != text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
