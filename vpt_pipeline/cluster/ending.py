"""What a labelling job leaves for people and other programs: manifest.parquet, SHA256SUMS, job.json and summary.html."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from data.files import write_json_atomic
from data.remote_files import put
from vpt_pipeline.cluster.books import Video
from vpt_pipeline.cluster.history import read_stretches
from vpt_pipeline.cluster.job import Job
from vpt_pipeline.cluster.manifest import ManifestWriter, table_file
from vpt_pipeline.cluster.overview import Overview
from vpt_pipeline.cluster.summary import summary


def write_ending(job: Job) -> None:
    """Write them into ``job.out``, a folder or URL, by what the books say now; earlier ones are replaced.

    Each is whole or absent, the page comes last. Right after every run, finished or not: nothing of the job changes.
    Memory hardly grows with the number of videos. Raises OSError where a file cannot be written.
    """
    overview, settings = Overview(), asdict(job.settings)
    with tempfile.TemporaryDirectory(prefix="vpt-ending-") as name:
        folder = Path(name)
        with (
            ManifestWriter(folder / "manifest.parquet", settings) as manifest,
            (folder / "SHA256SUMS").open("w", encoding="utf-8", newline="\n") as sums,
        ):
            for video in job.books.videos():
                manifest.add(video)
                overview.add(video)
                if video.state == "done":
                    sums.write(sum_line(video))
        write_json_atomic(folder / "job.json", settings)
        for file in ("manifest.parquet", "SHA256SUMS", "job.json"):
            put(folder / file, f"{job.out}/{file}")
        page = summary(overview, read_stretches(job.state / "progress.jsonl"), job.settings, job.out)
        page.write(folder / "summary.html")
        put(folder / "summary.html", f"{job.out}/summary.html")


def sum_line(video: Video) -> str:
    """As sha256sum writes and checks it: a name with a backslash or a line's end is escaped, and the line marked."""
    file = table_file(video.name)
    escaped = file.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == file else chr(92)}{video.table_sha256}  {escaped}\n"
