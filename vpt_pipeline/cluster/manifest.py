"""manifest.parquet of a labelling job: what became of each video, a row a video, readable without this package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.files import atomic_path
from data.labels import FLAGS
from data.remote_files import open_read
from data.resample import ResampleReport
from vpt_pipeline.cluster.books import Video

_VERSION, _MARK, _SETTINGS = b"1", b"vpt_label_manifest", b"settings"
_ROWS_AT_ONCE = 5000

COLUMNS: tuple[tuple[str, Any, str], ...] = (
    ("url", pa.string(), "where the video was read: an absolute path or a URL"),
    ("name", pa.string(), "what it is called in the tables (column video)"),
    ("state", pa.string(), "done, quarantined (given up, see error) or open (not labelled yet)"),
    ("error", pa.string(), "why it was given up"),
    ("source_sha256", pa.string(), "of the video file that was labelled, 64 hex digits"),
    ("source_bytes", pa.int64(), "of that file"),
    ("rows", pa.int64(), "labelled frames, one row of the table each"),
    ("table", pa.string(), "file of the labels, from the folder of this manifest; null unless done"),
    ("table_sha256", pa.string(), "of that file, 64 hex digits"),
    ("seconds", pa.float64(), "for which workers had it, lost tries too; a worker has several videos at a time"),
    ("problems", pa.list_(pa.string()), "what was wrong with the file, though it was labelled"),
    ("conf_buttons", pa.float32(), "mean over frames of the labels' column of that name"),
    ("conf_camera", pa.float32(), "mean over frames of the labels' column of that name"),
    *((flag, pa.float32(), f"share of the frames with the flag {flag}; null if it was not counted") for flag in FLAGS),
)
"""Name, type and meaning of each column. What is not known is null."""

SCHEMA: pa.Schema = pa.schema(
    [pa.field(name, kind, metadata={"meaning": meaning}) for name, kind, meaning in COLUMNS],
    metadata={_MARK: _VERSION},
)


@dataclass(frozen=True)
class Entry:
    """What must be known of a video to check its table: part of a row of the books, or of a manifest."""

    url: str
    name: str
    state: str
    rows: int
    table_sha256: str

    @classmethod
    def of(cls, video: Video) -> Entry:
        return cls(video.url, video.name, video.state, video.rows or 0, video.table_sha256 or "")


def table_file(name: str) -> str:
    """Where the table of a video lies, from the folder of its job's version."""
    return f"labels/{name}.parquet"


def manifest_row(video: Video) -> dict[str, Any]:
    """The row of a video: the keys are those of COLUMNS."""
    labels, rows = video.facts.get("labels", {}), video.rows or 0
    done = video.state == "done"
    shares = {flag: labels[flag] / rows if flag in labels and rows else None for flag in FLAGS}
    return {
        "url": video.url,
        "name": video.name,
        "state": video.state,
        "error": video.error,
        "source_sha256": video.sha256,
        "source_bytes": video.bytes,
        "rows": video.rows,
        "table": table_file(video.name) if done else None,
        "table_sha256": video.table_sha256 if done else None,
        "seconds": video.seconds,
        "problems": resampling(video) + problems(video),
        "conf_buttons": labels.get("conf_buttons"),
        "conf_camera": labels.get("conf_camera"),
        **shares,
    }


def problems(video: Video) -> list[str]:
    """What was wrong with its file, resampling aside."""
    return [*video.facts.get("problems", []), *video.facts.get("report", {}).get("problems", [])]


def resampling(video: Video) -> list[str]:
    """A line if it had to be brought to another frame rate, else nothing."""
    told = video.facts.get("report", {})
    if not told.get("resampled"):
        return []
    known = {field.name for field in fields(ResampleReport)}
    return [ResampleReport(**{name: value for name, value in told.items() if name in known}).summary()]


class ManifestWriter:
    """Writes a manifest video by video; memory is that of a few thousand rows. Used in a ``with``, whole or absent."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """settings: of the job, kept in the file's metadata."""
        metadata = {_MARK: _VERSION, _SETTINGS: json.dumps(settings, sort_keys=True).encode()}
        self._schema = SCHEMA.with_metadata(metadata)
        self._path, self._rows = path, list[dict[str, Any]]()

    def __enter__(self) -> ManifestWriter:
        self._atomic = atomic_path(self._path)
        self._writer = pq.ParquetWriter(self._atomic.__enter__(), self._schema, compression="zstd")
        return self

    def add(self, video: Video) -> None:
        self._rows.append(manifest_row(video))
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self._writer.close()
            self._atomic.__exit__(kind, error, trace)


def read_manifest(url: str) -> Iterator[Entry]:
    """The videos of a manifest, by name, a few thousand in memory.

    Raises FileNotFoundError, or ValueError where the file is something else.
    """
    wanted = [field.name for field in fields(Entry)]
    with open_read(url) as stream:
        try:
            file = pq.ParquetFile(stream)
        except pa.ArrowException as error:
            raise _not_a_manifest(url, str(error)) from error
        version = (file.schema_arrow.metadata or {}).get(_MARK)
        if version != _VERSION:
            raise _not_a_manifest(url, "another table" if version is None else f"version {version.decode()}")
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=wanted):
            for row in batch.to_pylist():
                yield Entry(row["url"], row["name"], row["state"], row["rows"] or 0, row["table_sha256"] or "")


def _not_a_manifest(url: str, found: str) -> ValueError:
    expected = f"expected the manifest of a labelling job (version {_VERSION.decode()})"
    return ValueError(f"{url}: {expected}, found {found}; copy it again from the job's folder")
