"""What was found out about files by reading them whole, kept for as long as they do not change.

Files count as unchanged while their names, sizes, inodes and times of change are what they were.
A file that was changed just before it was read could be changed again within one tick of the file
system's clock and look the same; nothing is remembered of such files.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from boggers.errors import UserError
from boggers.files import read_json, write_json

SETTLED_SECONDS = 2.0
"""How long files must have been left alone before what they hold is remembered."""


def remembered(
    note: Path, files: Sequence[Path], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `measure` says of the files, from `note` if they are as they were when it was written.

    Args:
        note: a JSON file, written when it is absent or of other files.
        files: all that `measure` reads.
        measure: gives a JSON object.

    Raises:
        UserError: whatever `measure` raises.
    """
    before = _stamp(files)
    if note.is_file():
        try:
            kept = read_json(note)
        except UserError:
            kept = {}
        if before is not None and isinstance(kept, dict) and kept.get("stamp") == before:
            value: dict[str, Any] = kept["value"]
            return value
    settled = _newest(files) < time.time() - SETTLED_SECONDS
    value = measure()
    if settled and before is not None and before == _stamp(files):
        write_json(note, {"stamp": before, "value": value})
    return value


def _stamp(files: Sequence[Path]) -> str | None:
    """A hash of what the file system says of the files; None if one of them is not there."""
    seen = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            return None
        times = (found.st_mtime_ns, found.st_ctime_ns)
        seen.append([str(file.resolve()), found.st_size, found.st_ino, *times])
    return hashlib.sha256(json.dumps(seen).encode("utf-8")).hexdigest()


def _newest(files: Sequence[Path]) -> float:
    """When one of the files was changed last, in seconds since 1970."""
    times = (file.stat() for file in files if file.exists())
    return max((max(found.st_mtime, found.st_ctime) for found in times), default=0.0)
