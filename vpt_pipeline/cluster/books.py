"""The books of a labelling job: which videos there are, how far each one is, and what became of it (SQLite).

The driver alone writes them. Whatever it is doing when it is killed, the books are true: what they call done lies on the
disk, and everything else is done again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.sources import Source, unique_name

VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS videos (
    id INTEGER PRIMARY KEY, url TEXT UNIQUE NOT NULL, name TEXT UNIQUE NOT NULL, stamp TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'quarantined')),
    whole INTEGER NOT NULL DEFAULT 0, error TEXT, sha256 TEXT, bytes INTEGER, ticks INTEGER,
    facts TEXT, table_sha256 TEXT, rows INTEGER, seconds REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS videos_by_state ON videos (state);
CREATE INDEX IF NOT EXISTS videos_by_name ON videos (name COLLATE NOCASE);
CREATE TABLE IF NOT EXISTS spans (
    video INTEGER NOT NULL REFERENCES videos (id), first INTEGER NOT NULL, stop INTEGER,
    done INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
    start INTEGER, time_base TEXT, file_sha256 TEXT, edges TEXT, frames INTEGER,
    PRIMARY KEY (video, first)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spans_to_do ON spans (done, tries, losses, video, first);
"""


@dataclass(frozen=True)
class Video:
    """A row of the books. facts: problems, resampling and statistics, once it is done."""

    id: int
    url: str
    name: str
    stamp: str
    state: str
    whole: bool
    error: str | None
    sha256: str | None
    bytes: int | None
    ticks: int | None
    facts: dict[str, Any]
    table_sha256: str | None
    rows: int | None
    seconds: float


@dataclass(frozen=True)
class Span:
    """The windows of a video that begin at blocks first to stop (None: to its end). start: the first frame's index."""

    video: int
    first: int
    stop: int | None
    done: bool
    tries: int
    losses: int
    start: int | None
    time_base: tuple[int, int]
    file_sha256: str | None
    edges: dict[int, str]
    frames: int


class Books:
    """One job's books. Opened by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise ValueError(f"{path}: books of version {version}; this program writes version {VERSION}")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version={VERSION}")
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{path}: expected the books of a labelling job, found something else ({error}); move it away to begin anew"
            ) from error

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # ---- videos

    def add(self, sources: Iterable[Source]) -> tuple[list[int], int]:
        """Enter the sources; those that are new or have changed are opened. Returns the ids of all, and how many those are.

        A stamp that a store does not know ("") never counts as changed.
        """
        ids, opened = [], 0
        with self.all_or_nothing():
            for source in sources:
                row = self._db.execute("SELECT id, stamp FROM videos WHERE url = ?", (source.url,)).fetchone()
                if row is None:
                    name = unique_name(source.url, self._name_taken, source.name)
                    done = self._db.execute(
                        "INSERT INTO videos (url, name, stamp) VALUES (?, ?, ?)", (source.url, name, source.stamp)
                    )
                    ids.append(int(done.lastrowid or 0))
                elif source.stamp and source.stamp != row["stamp"]:
                    ids.append(row["id"])
                    self._db.execute("UPDATE videos SET stamp = ? WHERE id = ?", (source.stamp, row["id"]))
                else:
                    ids.append(row["id"])
                    continue
                self._open(ids[-1])
                opened += 1
        return ids, opened

    def _name_taken(self, name: str) -> bool:
        found = self._db.execute("SELECT 1 FROM videos WHERE name = ? COLLATE NOCASE", (name,)).fetchone()
        return found is not None

    def reopen(self, video: int, whole: bool = False) -> None:
        """Forget what was done of a video. whole: it cannot be shared among workers."""
        with self.all_or_nothing():
            self._open(video, whole)

    def _open(self, video: int, whole: bool = False) -> None:
        self._db.execute("DELETE FROM spans WHERE video = ?", (video,))
        self._db.execute("INSERT INTO spans (video, first) VALUES (?, 0)", (video,))
        self._db.execute(
            "UPDATE videos SET state = 'open', whole = ?, error = NULL, facts = NULL, table_sha256 = NULL, rows = NULL, "
            "ticks = NULL WHERE id = ?",
            (whole, video),
        )

    def retry_quarantined(self) -> int:
        rows = self._db.execute("SELECT id FROM videos WHERE state = 'quarantined'").fetchall()
        for row in rows:
            self.reopen(row["id"])
        return len(rows)

    def video(self, video: int) -> Video:
        return _video(self._db.execute("SELECT * FROM videos WHERE id = ?", (video,)).fetchone())

    def videos(self) -> Iterator[Video]:
        """All of them, by name."""
        for row in self._db.execute("SELECT * FROM videos ORDER BY name"):
            yield _video(row)

    def counts(self) -> dict[str, int]:
        """How many videos are open, done and quarantined; ``rows``: the labels of those that are done."""
        counts = {"open": 0, "done": 0, "quarantined": 0}
        counts |= dict(self._db.execute("SELECT state, COUNT(*) FROM videos GROUP BY state").fetchall())
        counts["rows"] = self._db.execute("SELECT COALESCE(SUM(rows), 0) FROM videos").fetchone()[0]
        return counts

    def finish(self, video: int, table_sha256: str, rows: int, facts: dict[str, Any]) -> None:
        self._db.execute(
            "UPDATE videos SET state = 'done', error = NULL, table_sha256 = ?, rows = ?, facts = ? WHERE id = ?",
            (table_sha256, rows, json.dumps(facts, sort_keys=True), video),
        )

    def quarantine(self, video: int, error: str) -> None:
        self._db.execute("UPDATE videos SET state = 'quarantined', error = ? WHERE id = ?", (error, video))

    def note_file(self, video: int, sha256: str, size: int, facts: dict[str, Any]) -> None:
        self._db.execute(
            "UPDATE videos SET sha256 = ?, bytes = ?, facts = ? WHERE id = ?",
            (sha256, size, json.dumps(facts, sort_keys=True), video),
        )

    def note_time(self, video: int, seconds: float) -> None:
        self._db.execute("UPDATE videos SET seconds = seconds + ? WHERE id = ?", (seconds, video))

    # ---- spans

    def to_do(self, limit: int, without: set[tuple[int, int]]) -> list[Span]:
        """The next spans to label: those that never failed first, in the order of the videos."""
        rows = self._db.execute(
            "SELECT spans.* FROM spans JOIN videos ON videos.id = spans.video WHERE done = 0 AND state = 'open' "
            "ORDER BY tries, losses, video, first LIMIT ?",
            (limit + len(without),),
        )
        found = [_span(row) for row in rows]
        return [span for span in found if (span.video, span.first) not in without][:limit]

    def spans(self, video: int) -> list[Span]:
        rows = self._db.execute("SELECT * FROM spans WHERE video = ? ORDER BY first", (video,))
        return [_span(row) for row in rows]

    def share(self, video: int, ticks: int, borders: list[int]) -> None:
        """Split a video, of which the first span alone was known, at these blocks."""
        self._db.execute("UPDATE videos SET ticks = ? WHERE id = ?", (ticks, video))
        self._db.execute("UPDATE spans SET stop = ? WHERE video = ? AND first = 0", (borders[0], video))
        stops: list[int | None] = [*borders[1:], None]
        self._db.executemany(
            "INSERT OR IGNORE INTO spans (video, first, stop) VALUES (?, ?, ?)",
            [(video, first, stop) for first, stop in zip(borders, stops, strict=True)],
        )

    def span_done(
        self,
        video: int,
        first: int,
        start: int,
        frames: int,
        time_base: tuple[int, int],
        file_sha256: str,
        edges: dict[int, str],
    ) -> bool:
        """Returns whether that was the last of its video."""
        self._db.execute(
            "UPDATE spans SET done = 1, start = ?, frames = ?, time_base = ?, file_sha256 = ?, edges = ? "
            "WHERE video = ? AND first = ?",
            (start, frames, json.dumps(time_base), file_sha256, json.dumps(edges), video, first),
        )
        left = self._db.execute("SELECT COUNT(*) FROM spans WHERE video = ? AND done = 0", (video,)).fetchone()[0]
        return bool(left == 0)

    def span_failed(self, video: int, first: int, lost: bool) -> tuple[int, int]:
        """Count a failure of the span itself, or (``lost``) of the worker that had it. Returns both counts."""
        column = "losses" if lost else "tries"
        where = (video, first)
        self._db.execute(f"UPDATE spans SET {column} = {column} + 1 WHERE video = ? AND first = ?", where)
        row = self._db.execute("SELECT tries, losses FROM spans WHERE video = ? AND first = ?", where).fetchone()
        return (row["tries"], row["losses"]) if row else (0, 0)

    def span_spoilt(self, video: int, first: int) -> None:
        """What a span left is gone: it is to be labelled again."""
        self._db.execute("UPDATE spans SET done = 0 WHERE video = ? AND first = ?", (video, first))

    def unfinished(self) -> list[int]:
        """Videos all of whose spans are done, but not their table."""
        rows = self._db.execute(
            "SELECT id FROM videos WHERE state = 'open' AND NOT EXISTS "
            "(SELECT 1 FROM spans WHERE spans.video = videos.id AND done = 0)"
        )
        return [row["id"] for row in rows]

    def forget_spans(self, video: int) -> None:
        self._db.execute("DELETE FROM spans WHERE video = ?", (video,))


def _video(row: sqlite3.Row) -> Video:
    values = dict(row)
    values["whole"], values["facts"] = bool(values["whole"]), json.loads(values["facts"] or "{}")
    return Video(**values)


def _span(row: sqlite3.Row) -> Span:
    base = json.loads(row["time_base"]) if row["time_base"] else (1, 1)
    edges = {int(block): found for block, found in json.loads(row["edges"] or "{}").items()}
    return Span(
        row["video"],
        row["first"],
        row["stop"],
        bool(row["done"]),
        row["tries"],
        row["losses"],
        row["start"],
        (base[0], base[1]),
        row["file_sha256"],
        edges,
        row["frames"] or 0,
    )
