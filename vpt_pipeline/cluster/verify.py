"""`vpt label --verify`: whether the labels of a job are all there, and what they were when they were written.

By the job's books, or, where only the labels were copied, by their manifest.parquet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.markup import escape

from data.remote_files import exists, list_files, open_read, sha256
from data.stores import local_path
from vpt_pipeline.cluster.books import Books
from vpt_pipeline.cluster.job import Job, state_folder
from vpt_pipeline.cluster.manifest import Entry, read_manifest, table_file
from vpt_pipeline.progress import progress_bar, say

_SHOWN = 50
_AT_ONCE = 8
"""Tables that are read at once: a store answers late, but many at a time."""
_LAST_VERSION = 50


@dataclass(frozen=True)
class Version:
    """Labels of one choice of settings. out: folder or URL. books: None where only a manifest tells of them."""

    name: str
    out: str
    books: Path | None

    @property
    def manifest(self) -> str:
        return f"{self.out}/manifest.parquet"

    def entries(self) -> Iterator[Entry]:
        """Its videos, by name. Raises ValueError where books or manifest are something else."""
        if self.books is None:
            yield from read_manifest(self.manifest)
            return
        with closing(Books(self.books)) as books:
            yield from map(Entry.of, books.videos())


def find_versions(out: str, books: Path | None) -> list[Version]:
    """All versions of a job, or the one whose folder ``out`` is. Raises ValueError where there is none.

    books: the local folder of the books, where it is not the usual one.
    """
    out, state = out.rstrip("/"), state_folder(out, books)
    name = out.rsplit("/", 1)[-1]
    if (state / "books.sqlite").is_file():
        return [Version(name, out, state / "books.sqlite")]
    if exists(f"{out}/manifest.parquet"):
        return [Version(name, out, None)]
    found = []
    for name in (f"v{number}" for number in range(1, _LAST_VERSION + 1)):
        path = state / name / "books.sqlite"
        if path.is_file():
            found.append(Version(name, f"{out}/{name}", path))
        elif exists(f"{out}/{name}/manifest.parquet"):
            found.append(Version(name, f"{out}/{name}", None))
    if not found:
        raise ValueError(
            f"{out}: expected the labels of a `vpt label --cluster` job (v1/manifest.parquet) or its books "
            f"({state}/v1/books.sqlite), found neither; give the folder that was its --out, or --books"
        )
    return found


def check_table(entry: Entry, url: str) -> str | None:
    """What is wrong with a video's table; None if it is whole: the bytes that were written, every frame once.

    Memory does not grow with the table. Raises OSError where it cannot be read: that says nothing of the table.
    """
    try:
        found = sha256(url)
    except FileNotFoundError:
        return "its table is missing"
    if found != entry.table_sha256:
        return f"its table has changed since it was written (SHA-256 {found[:12]}..., expected {entry.table_sha256[:12]}...)"
    try:
        with open_read(url) as stream, pq.ParquetFile(stream) as table:
            return _check_rows(entry, table)
    except (pa.ArrowException, KeyError) as error:
        return f"what was written is no label table ({error})"


def _check_rows(entry: Entry, table: pq.ParquetFile) -> str | None:
    rows, right = 0, True
    for batch in table.iter_batches(columns=["video", "frame"]):
        right = right and np.array_equal(batch["frame"].to_numpy(), np.arange(rows, rows + len(batch)))
        rows += len(batch)
        if batch["video"].unique().to_pylist() != [entry.name]:
            return f"its rows are of another video than {entry.name!r}"
    if rows != entry.rows or not right:
        return f"expected frames 0 to {entry.rows - 1}, each once and in order; found {rows} rows that are not those"
    return None


def check_tables(entries: Iterable[Entry], out: str) -> Iterator[tuple[Entry, str | None]]:
    """Each video with what is wrong with its table, in order; None where it is whole, or where there should be none."""

    def check(entry: Entry) -> str | None:
        return check_table(entry, f"{out}/{table_file(entry.name)}") if entry.state == "done" else None

    entries = iter(entries)
    with ThreadPoolExecutor(_AT_ONCE, "verify") as pool:
        while some := list(islice(entries, 8 * _AT_ONCE)):
            yield from zip(some, pool.map(check, some), strict=True)


def problems(version: Version, counts: dict[str, int]) -> Iterator[str]:
    """Everything that is wrong with one version of a job's labels; counts videos by state, and ``rows``, on the way."""
    belongs: set[str] = set()
    given_up: set[str] = set()
    mend = (
        "the same `vpt label` command with --repair labels it again"
        if version.books
        else "copy it again, or run the `vpt label` command of the job with --repair where its books are"
    )
    with progress_bar(f"verifying {version.out}", None, "videos") as bar:
        for entry, wrong in check_tables(version.entries(), version.out):
            counts[entry.state] = counts.get(entry.state, 0) + 1
            counts["rows"] = counts.get("rows", 0) + (entry.rows if entry.state == "done" else 0)
            (given_up if entry.state == "quarantined" else belongs).add(table_file(entry.name))
            if entry.state == "open":
                yield f"{entry.url}: not labelled yet; the same `vpt label` command goes on"
            elif wrong is not None:
                yield f"{entry.url}: {wrong} ({version.out}/{table_file(entry.name)}); {mend}"
            bar.advance()
    folder = str(local_path(version.out) or version.out)
    for url, _ in list_files(f"{version.out}/labels"):
        file = url[len(folder) + 1 :]
        if file in given_up:
            yield f"{url}: of a video that was given up since; remove this table"
        elif file not in belongs:
            yield f"{url}: not a table of this job; remove it, or whoever reads this folder takes it for one"


def repair(job: Job) -> int:
    """Begin those videos anew whose tables are missing or not what was written; returns how many.

    To be called by the driver before it works, with nothing given to workers yet. Raises OSError where the tables cannot
    be read, and then changes nothing.
    """
    ids = {video.name: video.id for video in job.books.videos() if video.state == "done"}
    entries = (Entry.of(video) for video in job.books.videos())
    spoilt = [ids[entry.name] for entry, wrong in check_tables(entries, job.out) if wrong is not None]
    for video in spoilt:
        job.books.reopen(video)
    return len(spoilt)


def main(out: str, books: Path | None) -> int:
    """0 if every version is whole, 1 otherwise. Raises ValueError where there is no job."""
    wrong = 0
    for version in find_versions(out, books):
        by = f"the books, {version.books}" if version.books else f"{version.manifest}, for want of books"
        say(f"{escape(version.name)}: verified by {escape(by)}")
        counts: dict[str, int] = {}
        here = 0
        for line in problems(version, counts):
            here += 1
            if here <= _SHOWN:
                say(f"[red]{escape(line)}[/red]")
        if here > _SHOWN:
            say(f"... and {here - _SHOWN:,} more")
        verdict = "[red]not whole[/red]" if here else "complete and as written"
        given_up = f", {counts['quarantined']:,} given up" if counts.get("quarantined") else ""
        say(
            f"{escape(version.name)}: {counts.get('done', 0):,} videos, {counts.get('rows', 0):,} labels{given_up}: {verdict}"
        )
        wrong += here
    return 1 if wrong else 0
