"""A graph on disk: SQLite, one transaction a tick; a crash loses at most the tick under way.

What has not changed since the last save is not written again; for numbers see `columns.py`.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from boggers.errors import UserError
from boggers.graph.columns import KINDS, TABLE, Columns
from boggers.graph.living import LivingGraph

SCHEMA = 1
HISTORY = 10_000
SLACK = 100
"""What is too old is removed once it is a hundredth of the history."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE node (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, attributes TEXT);
CREATE TABLE dangling (number INTEGER PRIMARY KEY, source TEXT, target TEXT, weight REAL);
CREATE TABLE history (tick INTEGER PRIMARY KEY, seconds REAL, tension REAL NOT NULL,
    nodes INTEGER, edges INTEGER, language REAL, evolved INTEGER);
"""


@dataclass(frozen=True)
class Row:
    """One tick of a graph's history; times are seconds since 1970."""

    tick: int
    seconds: float
    tension: float
    nodes: int
    edges: int
    language: float | None
    evolved: int


class GraphStore:
    """The database of one graph.

    Args:
        path: the file; made with its folder if absent.
        history: ticks of history that are kept, the newest, and up to a hundredth of them more; at
            least 1.
        durable: make every commit survive a power cut. Without it a killed process still loses
            nothing, and a power cut loses the last commits as a whole, never half of one.

    Raises:
        UserError: the file is no such database, of a newer version, or in use by another writer.
    """

    def __init__(self, path: Path, *, history: int = HISTORY, durable: bool = True) -> None:
        if history < 1:
            raise UserError(f"A history keeps at least 1 tick; {history} came.")
        self.path = path
        self._history = history
        self._token = secrets.token_hex(8)
        self._graph: LivingGraph | None = None
        self._structure: int | None = None
        self._damping: float | None = None
        self._nodes = 0
        self._described: set[int] = set()
        self._oldest = 0
        self._newest: int | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._columns = Columns(self._database)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._database.execute("PRAGMA busy_timeout = 5000")
            self._prepare()

    def __enter__(self) -> "GraphStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was saved stays."""
        self._database.close()

    @property
    def empty(self) -> bool:
        """Whether no graph has been saved yet."""
        with self._explained():
            return self._meta("tick") is None

    def save(
        self,
        graph: LivingGraph,
        *,
        language: float | None = None,
        evolved: int = 0,
        tension: float | None = None,
    ) -> None:
        """Write the graph as it stands and a row of history, all of it or nothing.

        Args:
            graph: what to save.
            language: the language tension that the tick felt.
            evolved: nodes that grew in it.
            tension: the graph's T as it stands, if that is known.
        """
        with self._transaction():
            if self._graph is not graph or not self._went_on(graph.tick):
                self._forget()  # what is on the disk may be another's
                self._set_meta("writer", self._token)
                self._set_meta("tick", str(graph.tick))
            if self._damping != graph.damping:
                self._set_meta("damping", repr(graph.damping))
            self._write_columns(graph)
            self._database.execute(
                "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    graph.tick,
                    time.time(),
                    graph.tension() if tension is None else tension,
                    len(graph),
                    graph.num_edges,
                    language,
                    evolved,
                ),
            )
            self._end_history(graph.tick)
        self._remember(graph)

    def load(self) -> LivingGraph:
        """The graph as it was last saved.

        Raises:
            UserError: none has been saved, or the file is damaged.
        """
        if self.empty:
            raise UserError(f"{self.path} holds no graph yet.")
        with self._explained():
            nodes = self._database.execute("SELECT name, attributes FROM node ORDER BY number")
            rows: Sequence[tuple[str, str | None]] = nodes.fetchall()
            columns = {name: self._columns.read(name) for name in KINDS}
            try:
                graph = LivingGraph.from_arrays(
                    (name for name, _ in rows),
                    columns["activation"],
                    columns["source"],
                    columns["target"],
                    columns["weight"],
                    stability=columns["stability"],
                    base=columns["base"],
                    damping=float(self._meta("damping") or 0.0),
                )
            except (UserError, ValueError) as error:
                raise UserError(f"{self.path} is damaged: {error}") from error
            graph.attributes = {
                number: json.loads(known) for number, (_, known) in enumerate(rows) if known
            }
            for source, target, weight in self._database.execute(
                "SELECT source, target, weight FROM dangling ORDER BY number"
            ):
                graph.add_edge(source, target, weight, dangling=True)
            graph.tick = int(self._meta("tick") or 0)
        return graph

    def adopt(self, graph: LivingGraph) -> None:
        """Take note that this graph is what was just loaded, so that only changes are written."""
        with self._transaction():
            self._set_meta("writer", self._token)
            self._columns.adopt()
        self._remember(graph)

    def history(self, last: int | None = None) -> list[Row]:
        """The newest rows of history, oldest first; all that are kept if `last` is None."""
        with self._explained():
            found = self._database.execute(
                "SELECT * FROM history ORDER BY tick DESC LIMIT ?", (-1 if last is None else last,)
            )
            return [Row(*row) for row in reversed(found.fetchall())]

    def check(self) -> None:
        """Look for damage.

        Raises:
            UserError: something does not fit together.
        """
        with self._explained():
            (verdict,) = self._database.execute("PRAGMA integrity_check").fetchone()
            tick = self._meta("tick")
        newest = self.history(1)
        if verdict != "ok" or (tick is not None and newest[0].tick != int(tick)):
            raise UserError(f"{self.path} is damaged: {verdict}.")
        if tick is not None:
            self.load()

    def _write_columns(self, graph: LivingGraph) -> None:
        source, target, weight = graph.edge_arrays
        moving = {"activation": graph.activation}
        if graph.structure != self._structure:
            self._write_nodes(graph)
            moving |= {"source": source, "target": target, "weight": weight}  # type: ignore[dict-item]
        # Anyone may write to these two between ticks.
        moving |= {"stability": graph.stability, "base": graph.base}
        for name, values in moving.items():
            self._columns.write(name, values)

    def _write_nodes(self, graph: LivingGraph) -> None:
        self._database.execute("DELETE FROM node WHERE number >= ?", (self._nodes,))
        changed = {*self._described, *graph.attributes, *range(self._nodes, len(graph))}
        self._database.executemany(
            "INSERT OR REPLACE INTO node VALUES (?, ?, ?)",
            ((at, graph.names[at], _as_text(graph.attributes.get(at))) for at in sorted(changed)),
        )
        self._database.execute("DELETE FROM dangling")
        self._database.executemany(
            "INSERT INTO dangling VALUES (?, ?, ?, ?)",
            [(number, *edge) for number, edge in enumerate(graph.dangling)],
        )

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise UserError(
                f"{self.path} was written by a newer version (schema {version}, this one knows "
                f"{SCHEMA}). Use that version."
            )
        if version == SCHEMA:
            return
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables:
            raise UserError(f"{self.path} is a database of something else. Choose another file.")
        with self._transaction():
            for statement in (_TABLES + TABLE).split(";"):
                self._database.execute(statement)
            self._database.execute(f"PRAGMA user_version = {SCHEMA}")

    def _went_on(self, tick: int) -> bool:
        """Note the tick, if this object was the last to write; whether it was."""
        noted = self._database.execute(
            "UPDATE meta SET value = ? WHERE key = 'tick' AND "
            "(SELECT value FROM meta WHERE key = 'writer') = ?",
            (str(tick), self._token),
        )
        return noted.rowcount == 1

    def _end_history(self, tick: int) -> None:
        """Remove what a graph that went back has still before it, and what is too old."""
        too_old = tick - self._history
        due = too_old - self._oldest >= self._history // SLACK
        if self._newest is not None and tick > self._newest and not due:
            self._newest = tick
            return
        self._database.execute("DELETE FROM history WHERE tick > ? OR tick <= ?", (tick, too_old))
        self._oldest, self._newest = max(0, too_old), tick

    def _meta(self, key: str) -> str | None:
        found = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,))
        row = found.fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, key: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _remember(self, graph: LivingGraph) -> None:
        self._graph, self._structure = graph, graph.structure
        self._damping = graph.damping
        self._nodes = len(graph)
        self._described = set(graph.attributes)

    def _forget(self) -> None:
        """Write everything at the next save."""
        self._columns.forget()
        self._graph, self._structure, self._damping = None, None, None
        self._nodes, self._described = 0, set()
        self._newest = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._forget()  # what was written in it is undone
                    self._database.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.path} cannot be used as a graph: {error}.") from error


def _as_text(known: dict[str, Any] | None) -> str | None:
    return json.dumps(known) if known else None
