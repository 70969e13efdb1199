"""Writing label tables: in parts, as a job advances, and then as one file, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.files import atomic_path
from data.labels import SCHEMA, LabelTable, check_schema, of_this_version

ROWS_PER_GROUP = 1 << 15
"""Rows of a Parquet row group (some 3 MB): part of the format, since it decides the bytes."""

_PART_NAME = re.compile(r"part-(\d{8})-(\d{8})\.parquet")


def write_labels(table: LabelTable, path: Path | str) -> None:
    """Write a label table: whole or not at all, equal rows to equal bytes."""
    _write([table.to_arrow()], Path(path))


def write_part(table: LabelTable, folder: Path | str) -> Path:
    """Write labels of consecutive frames of one video into ``folder``, named by their span; returns the file.

    A part of that span that is already there is replaced. Raises ValueError unless frames follow one another.
    """
    if not len(table) or len(table.videos) != 1 or not (np.diff(table.frame) == 1).all():
        raise ValueError(f"{folder}: a part holds consecutive frames of one video, found {len(table)} rows that do not")
    path = Path(folder) / f"part-{int(table.frame[0]):08d}-{int(table.frame[-1]) + 1:08d}.parquet"
    write_labels(table, path)
    return path


def find_parts(folder: Path | str) -> list[Path]:
    """The parts of one video in order of frames; empty when there is no such folder. Unfinished ones are not seen."""
    folder = Path(folder)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if _PART_NAME.fullmatch(path.name)]


def span_of(part: Path) -> tuple[int, int]:
    """First frame and end (exclusive) of a part, from its name."""
    match = _PART_NAME.fullmatch(part.name)
    if match is None:
        raise ValueError(f"{part}: expected a name like part-00000000-00000128.parquet")
    return int(match[1]), int(match[2])


def frames_done(parts: Iterable[Path]) -> int:
    """How many frames from 0 the parts cover without a gap: where a resumed job goes on."""
    done = 0
    for start, stop in sorted(map(span_of, parts)):
        if start > done:
            break
        done = max(done, stop)
    return done


def merge_parts(parts: Sequence[Path], path: Path | str) -> int:
    """Join label files into one, in the order given, a row group in memory at a time; returns the rows written.

    The bytes are those of writing all rows at once. Raises ValueError, leaving nothing behind, when a video's frames
    do not follow one another, or a video turns up again after another.
    """
    path = Path(path)
    if not parts:
        raise ValueError(f"{path}: no parts to merge; label something first")
    for part in parts:
        check_schema(part)
    return _write(_checked_batches(parts, path), path)


def _checked_batches(parts: Sequence[Path], path: Path) -> Iterator[pa.Table]:
    video: str | None = None
    finished: set[str] = set()
    last = -1
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
                names = batch.column("video").to_numpy(zero_copy_only=False)
                frames = batch.column("frame").to_numpy()
                changes = np.flatnonzero(names[1:] != names[:-1]) + 1
                for rows in np.split(np.arange(len(names)), changes):
                    name, span = str(names[rows[0]]), frames[rows]
                    if name != video:
                        if name in finished:
                            raise ValueError(
                                f"{path}: video {name!r} turns up again in {part}; give its parts together"
                            )
                        finished.add(name)
                        video, last = name, int(span[0]) - 1
                    steps = np.diff(span, prepend=last)
                    if (steps != 1).any():
                        wrong = int(np.flatnonzero(steps != 1)[0])
                        before = last if wrong == 0 else int(span[wrong - 1])
                        raise ValueError(
                            f"{path}: video {name!r}, {part}: frame {span[wrong]} follows frame {before}, expected "
                            f"{before + 1}; label the missing frames, or leave out the part that repeats some"
                        )
                    last = int(span[-1])
                yield of_this_version(pa.Table.from_batches([batch]))


def _write(tables: Iterable[pa.Table], path: Path) -> int:
    """Write tables as one, cut into row groups of the same size however they come."""
    written = 0
    waiting = SCHEMA.empty_table()
    # Dictionaries pay for what repeats; probabilities compress better by byte planes.
    floats = [field.name for field in SCHEMA if field.type == pa.float32()]
    repeating = ["video", "time_base_num", "time_base_den", "camera_pitch_bin", "camera_yaw_bin"]
    with (
        atomic_path(path) as part,
        pq.ParquetWriter(
            part, SCHEMA, compression="zstd", use_dictionary=repeating, use_byte_stream_split=floats, version="2.6"
        ) as writer,
    ):
        for table in tables:
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= ROWS_PER_GROUP:
                writer.write_table(waiting.slice(0, ROWS_PER_GROUP).combine_chunks(), row_group_size=ROWS_PER_GROUP)
                waiting = waiting.slice(ROWS_PER_GROUP)
                written += ROWS_PER_GROUP
        if len(waiting) or not written:
            writer.write_table(waiting.combine_chunks(), row_group_size=ROWS_PER_GROUP)
            written += len(waiting)
    return written
