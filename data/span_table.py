"""The table of clean spans: made from label tables one video at a time, and read by training.

One row a span, in Parquet: the video, its first frame and its end (exclusive) as frames of the label table, the mean
confidence, and the label table that says what is done there. The file's metadata holds the rules, what each dropped, and the
SHA-256 of every label table, so that one can tell what it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.clean_spans import COLUMNS, CleanRules, CleanSpans, LabelledFrames, clean_spans
from data.files import atomic_path, sha256_file
from data.labels import check_schema

VERSION = "1"
_MARK = b"vpt_clean_spans"

SCHEMA: pa.Schema = pa.schema(
    [
        ("video", pa.string()), ("start", pa.int32()), ("stop", pa.int32()), ("frames", pa.int32()),
        ("confidence", pa.float32()), ("table", pa.string()),
    ],
    metadata={_MARK: VERSION},
)  # fmt: skip
"""The columns of a span table; a reader may rely on their names, types and order."""


@dataclass(frozen=True)
class CleanedTable:
    """What came of one label table: its hash and the spans of each of its videos."""

    path: Path
    sha256: str
    videos: tuple[CleanSpans, ...]


@dataclass(frozen=True, eq=False)
class SpanTable:
    """N spans as arrays of N rows: video and table are object arrays of str, start and stop int32 (stop exclusive)."""

    video: NDArray[np.object_]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    confidence: NDArray[np.float32]
    table: NDArray[np.object_]
    rules: CleanRules

    def __len__(self) -> int:
        return len(self.video)


def find_tables(paths: Iterable[Path]) -> list[Path]:
    """The label tables among files and folders, sorted within a folder; the contents are not looked at.

    Of a folder with label tables in ``labels/`` (a labelling job's) those are taken, of another all it holds. Hidden files
    and the parts of unfinished tables are passed over. Raises ValueError where a path holds none.
    """
    found: list[Path] = []
    paths = list(paths)
    if not paths:
        raise ValueError("no label table given; expected tables or folders of them, as in `vpt filter runs/labels`")
    for path in paths:
        if path.is_dir():
            inside = _tables_in(path / "labels") or _tables_in(path)
            if not inside:
                raise ValueError(f"{path}: expected label tables (.parquet) in this folder, found none; check the path")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"{path}: expected a label table or a folder of them, found nothing there; check the path")
    return list(dict.fromkeys(found))


def _tables_in(folder: Path) -> list[Path]:
    inside = sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
    return [path for path in inside if not _passed_over(path, folder)]


def _passed_over(path: Path, folder: Path) -> bool:
    names = path.relative_to(folder).parts
    return any(name.startswith(".") or name.endswith(".parts") for name in names)


def is_span_table(path: Path) -> bool:
    """Whether a file is a table of clean spans; a file that cannot be read is not."""
    try:
        return _MARK in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowInvalid):
        return False


def clean_table(path: Path, rules: CleanRules) -> CleanedTable:
    """Apply the rules to a label table, holding one video at a time.

    Raises ValueError, naming the file, where it is no label table, is damaged, or a video's rows are not together.
    """
    check_schema(path)
    try:
        cleaned = tuple(clean_spans(video, rules) for video in _videos(path))
        return CleanedTable(path, sha256_file(path), cleaned)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read ({error}); copy it again, or label its videos again") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _videos(path: Path) -> Iterator[LabelledFrames]:
    """The videos of a label table, one after the other, each whole."""
    seen: set[str] = set()
    name, held = "", list[dict[str, NDArray[Any]]]()
    with pq.ParquetFile(path) as file:
        there = [column for column in COLUMNS if column in file.schema_arrow.names]
        for batch in file.iter_batches(columns=there):
            rows = {column: batch.column(column).to_numpy(zero_copy_only=False) for column in there}
            rows.setdefault("cut", np.zeros(len(batch), bool))
            names = rows.pop("video")
            ends = [*(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
            begin = 0
            for end in ends:
                if held and names[begin] != name:
                    yield _joined(name, held)
                    held = []
                if not held:
                    name = str(names[begin])
                    if name in seen:
                        raise ValueError(f"the rows of video {name!r} are not together; label it again")
                    seen.add(name)
                held.append({column: values[begin:end] for column, values in rows.items()})
                begin = end
    if held:
        yield _joined(name, held)


def _joined(video: str, pieces: Sequence[dict[str, NDArray[Any]]]) -> LabelledFrames:
    return LabelledFrames(video, **{name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]})


class SpanWriter:
    """Appends the spans of cleaned tables to a file that is being written; made by :func:`span_writer`."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._waiting: list[pa.Table] = []
        self._hashes: dict[str, str] = {}

    def add(self, cleaned: CleanedTable) -> None:
        self._hashes[str(cleaned.path)] = cleaned.sha256
        for video in cleaned.videos:
            count = len(video.start)
            columns: list[Any] = [
                [video.video] * count, video.start, video.stop, video.stop - video.start, video.confidence,
                [str(cleaned.path)] * count,
            ]  # fmt: skip
            arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
            self._waiting.append(pa.Table.from_arrays(arrays, schema=SCHEMA))
        if sum(map(len, self._waiting)) >= 1 << 16 or len(self._waiting) >= 1 << 12:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting = []

    def close(self, notes: dict[str, Any]) -> None:
        self.flush()
        told = {**notes, "tables_sha256": self._hashes}
        self._writer.add_key_value_metadata({k: json.dumps(v, sort_keys=True) for k, v in told.items()})


@contextmanager
def span_writer(path: Path, rules: CleanRules, notes: dict[str, Any]) -> Iterator[SpanWriter]:
    """Write a span table, whole or not at all. notes: JSON for the metadata, read when the block has ended."""
    with atomic_path(path) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as parquet:
        writer = SpanWriter(parquet)
        yield writer
        writer.close({"rules": rules.to_dict(), **notes})


def read_notes(path: Path) -> dict[str, Any]:
    """What a span table says of itself: rules, thresholds, dropped, tables_sha256 and so on; {} for other Parquet files."""
    notes = pq.read_metadata(path).metadata or {}
    own = (key for key in notes if _MARK in notes and key not in (_MARK, b"ARROW:schema"))
    return {key.decode(): json.loads(notes[key]) for key in own}


def read_spans(path: Path) -> SpanTable:
    """Read a table of clean spans. Raises ValueError, naming the file, for any other."""
    try:
        table = pq.read_table(path)
        found = (table.schema.metadata or {}).get(_MARK)
        if found != VERSION.encode() or not table.schema.equals(SCHEMA):
            raise ValueError(f"found columns {', '.join(table.schema.names[:6])}")
        rules = CleanRules.from_dict(read_notes(path)["rules"], str(path))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ValueError(
            f"{path}: expected a table of clean spans (version {VERSION}); make one with `vpt filter` ({error})"
        ) from error
    values = {name: table.column(name).to_numpy() for name in SCHEMA.names}
    values.pop("frames")
    return SpanTable(
        **{name: v.astype(object) if name in ("video", "table") else v for name, v in values.items()}, rules=rules
    )
