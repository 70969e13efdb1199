"""`vpt label --verify`: whether the labels of a job are all there, and what they were when they were written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from data.remote_files import list_files, open_read, sha256
from vpt_pipeline.cluster.books import Books, Video
from vpt_pipeline.cluster.job import state_folder
from vpt_pipeline.progress import progress_bar, say

_SHOWN = 50


def check_table(video: Video, url: str) -> str | None:
    """What is wrong with a video's table; None if it is whole: the bytes that were written, every frame once."""
    try:
        found = sha256(url)
    except FileNotFoundError:
        return "its table is missing"
    if found != video.table_sha256:
        expected = str(video.table_sha256)[:12]
        return f"its table has changed since it was written (SHA-256 {found[:12]}..., expected {expected}...)"
    with open_read(url) as stream, pq.ParquetFile(stream) as table:
        rows = table.read(columns=["video", "frame"])
    if not np.array_equal(rows["frame"].to_numpy(), np.arange(video.rows or 0)):
        return f"expected frames 0 to {(video.rows or 0) - 1}, each once; found {len(rows)} rows that are not those"
    if set(rows["video"].to_pylist()) != {video.name}:
        return f"its rows are of another video than {video.name!r}"
    return None


def problems(version: Path, out: str) -> Iterator[str]:
    """Everything that is wrong with one version of a job's labels."""
    books = Books(version / "books.sqlite")
    try:
        expected = set()
        with progress_bar(
            f"verifying {out}", sum(books.counts()[s] for s in ("open", "done", "quarantined")), "videos"
        ) as bar:
            for video in books.videos():
                url = f"{out}/labels/{video.name}.parquet"
                if video.state == "open":
                    yield f"{video.url}: not labelled yet; the same `vpt label` command goes on"
                elif video.state == "done":
                    expected.add(f"{video.name}.parquet")
                    if (wrong := check_table(video, url)) is not None:
                        yield f"{video.url}: {wrong}; remove {url} and run the same `vpt label` command with --repair"
                bar.advance()
        for url, _ in list_files(f"{out}/labels"):
            if url.rsplit("/", 1)[-1] not in expected:
                yield f"{url}: not a table of this job"
    finally:
        books.close()


def main(out: str, books: Path | None) -> int:
    """0 if every version is whole, 1 otherwise. Raises ValueError where there is no job."""
    state = state_folder(out, books)
    versions = sorted(path.parent for path in state.glob("v*/books.sqlite"))
    if not versions:
        raise ValueError(f"{state}: expected the books of a `vpt label --cluster` job (v1/books.sqlite); found none")
    wrong = 0
    for version in versions:
        found = list(problems(version, f"{out.rstrip('/')}/{version.name}"))
        for line in found[:_SHOWN]:
            say(f"[red]{line}[/red]")
        if len(found) > _SHOWN:
            say(f"... and {len(found) - _SHOWN:,} more")
        store = Books(version / "books.sqlite")
        counts = store.counts()
        store.close()
        verdict = "[red]not whole[/red]" if found else "complete and as written"
        given_up = f", {counts['quarantined']:,} given up" if counts["quarantined"] else ""
        say(f"{version.name}: {counts['done']:,} videos, {counts['rows']:,} labels{given_up}: {verdict}")
        wrong += len(found)
    return 1 if wrong else 0
