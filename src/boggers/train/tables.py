"""CSV files that grow row by row and keep one header."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from boggers.errors import UserError
from boggers.files import write_text

Cell = float | int | str | None


class Table:
    """Appends rows to a CSV file; several runs may share one.

    Args:
        path: begun with its header if absent or empty.
        columns: the header.
        resumed_at: rows beyond this step are dropped, being about to be written again; None keeps
            all.

    Raises:
        UserError: the file has other columns, or cannot be read or written.
    """

    def __init__(self, path: Path, columns: Sequence[str], resumed_at: int | None = None) -> None:
        self.path, self.columns = path, tuple(columns)
        try:
            old = path.read_text(encoding="utf-8") if path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be continued as a table: {error}.") from error
        rows = list(csv.reader(io.StringIO(old)))
        if rows and tuple(rows[0]) != self.columns:
            raise UserError(
                f"{path} has other columns than are to be written, so it cannot be continued. "
                "Move it away, or name another file."
            )
        kept = [row for row in rows[1:] if len(row) == len(self.columns)]
        if resumed_at is not None:
            step = self.columns.index("global_step")
            kept = [row for row in kept if int(row[step]) <= resumed_at]
        write_text(path, _lines([self.columns, *kept]))

    def append(self, *rows: Mapping[str, Cell], digits: int = 6) -> None:
        """Write rows; a missing value stays empty, a fraction gets so many digits."""
        cells = [[_cell(row.get(column), digits) for column in self.columns] for row in rows]
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_lines(cells))
        except OSError as error:
            raise UserError(f"{self.path} could not be written: {error.strerror}.") from error


def _cell(value: Cell, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
