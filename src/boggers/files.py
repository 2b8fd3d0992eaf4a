"""Files that are either whole or absent.

Everything is written beside its target first, flushed to the disk and renamed into place, so a
crash or a full disk leaves the previous file, never half of a new one.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from boggers.errors import UserError

MANIFEST = "manifest.json"


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, or leave it as it was.

    Raises:
        UserError: the file cannot be written (permissions, a full disk); the old one remains.
    """
    write_pieces(path, (data,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Replace `path` by pieces that need not be in memory together, or leave it as it was.

    Raises:
        UserError: the file cannot be written; the old one remains, as it does when `pieces` raises.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unused = _unused(path)
        with unused.open("xb") as file:
            temporary = unused
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        unused.replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(_cannot_write(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by UTF-8 `text`, or leave it as it was."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as indented JSON, or leave it as it was."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path} must hold JSON, but is damaged: {error}.") from error


def write_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Create the folder `target` with what `fill` puts into it, all of it or none.

    `fill` receives a temporary folder beside the target. Each file in it is checksummed into
    `manifest.json` and flushed; then the folder takes its name in one rename.

    Raises:
        UserError: the folder cannot be written; an earlier folder of that name remains.
    """
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _unused(target)
        temporary.mkdir()
        fill(temporary)
        _complete(temporary, target)
    except OSError as error:
        raise UserError(_cannot_write(target, error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def adopt_folder(temporary: Path, target: Path) -> None:
    """Give a folder that has been filled, and lies beside it, the name `target`.

    As `write_folder` does: checksums, then everything to the disk, then one rename.

    Raises:
        UserError: it cannot be completed; an earlier folder of that name remains.
    """
    try:
        _complete(temporary, target)
    except OSError as error:
        raise UserError(_cannot_write(target, error)) from error


def _complete(temporary: Path, target: Path) -> None:
    write_json(temporary / MANIFEST, _checksums(temporary))
    for file in temporary.iterdir():
        _sync_file(file)
    sync_folder(temporary)
    _swap(temporary, target)
    sync_folder(target.parent)


def verify_folder(folder: Path) -> None:
    """Check every file of a folder made by `write_folder` against its checksum.

    Raises:
        UserError: the manifest or a file is missing, or a file has changed.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} is not a complete checkpoint: it has no {MANIFEST}.")
    for name, expected in read_json(folder / MANIFEST).items():
        file = folder / name
        if not file.is_file():
            raise UserError(f"{folder} is damaged: {name} is missing. Use another checkpoint.")
        if checksum(file) != expected:
            raise UserError(
                f"{folder} is damaged: {name} does not have the checksum it was saved with. "
                "Use another checkpoint."
            )


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unused(path: Path) -> Path:
    """A name beside `path` that nothing has: what is made under it has the usual permissions."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _checksums(folder: Path) -> dict[str, str]:
    return {file.name: checksum(file) for file in sorted(folder.iterdir())}


def _swap(temporary: Path, target: Path) -> None:
    """Give `temporary` the name `target`; a folder that had it is removed last."""
    if not target.exists():
        temporary.rename(target)
        return
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    target.rename(old)
    temporary.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{path} could not be written: {reason}. Nothing saved earlier was touched."
