"""Lists of videos that people write: .csv, .jsonl or .parquet with a column ``video``, ``path`` or ``url``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

LIST_SUFFIXES = {".csv", ".jsonl", ".parquet"}

VIDEO_COLUMNS = ("video", "path", "url")
NAME_COLUMN = "name"
_ROWS_AT_ONCE = 4096


class Row(NamedTuple):
    """One entry. where: file and line, for messages. video: as it stands there. name: None if there is none."""

    where: str
    video: str
    name: str | None


def read_list(stream: BinaryIO, file: str, suffix: str) -> Iterator[Row]:
    """The entries of a list in order, a few thousand at once in memory; columns of other names are passed over.

    file: its name, for messages. Raises ValueError naming file and line for what cannot be read, a missing column and
    an entry without a video.
    """
    if suffix == ".parquet":
        yield from _read_parquet(stream, file)
        return
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="" if suffix == ".csv" else "\n")
    try:
        yield from (_read_csv if suffix == ".csv" else _read_jsonl)(text, file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected text in UTF-8, found other bytes ({error}); save it as UTF-8") from error
    finally:
        text.detach()  # whoever opened the stream closes it


def _read_csv(text: io.TextIOWrapper, file: str) -> Iterator[Row]:
    reader = csv.reader(text)
    try:
        header = next(reader, [])
        video, name = _columns(header, file)
        for cells in reader:
            if not cells:
                continue
            where = f"{file}:{reader.line_num}"
            yield _row(where, *(cells[at] if at is not None and at < len(cells) else None for at in (video, name)))
    except csv.Error as error:
        told = f"{file}:{reader.line_num}: expected comma-separated values, found something else ({error})"
        raise ValueError(f"{told}; correct this line") from error


def _read_jsonl(text: io.TextIOWrapper, file: str) -> Iterator[Row]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            shown = line.strip()
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            raise ValueError(
                f'{where}: expected a JSON object such as {{"video": "a.mp4"}}, found {shown!r}; correct or remove this line'
            )
        keys = list(record)
        video, name = _columns(keys, where)
        yield _row(where, record[keys[video]], None if name is None else record[keys[name]])


def _read_parquet(stream: BinaryIO, file: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(stream)
        names = table.schema_arrow.names
        video, name = _columns(names, file)
        wanted = [names[video], *([] if name is None else [names[name]])]
        number = 0
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=wanted, use_threads=False):
            found = {column: batch.column(column).to_pylist() for column in wanted}
            for at in range(batch.num_rows):
                number += 1
                named = None if name is None else found[wanted[1]][at]
                yield _row(f"{file}: row {number}", found[wanted[0]][at], named)
    except pa.ArrowException as error:
        raise ValueError(f"{file}: expected a Parquet file, found something else ({error}); write it again") from error


def _columns(found: list[str], where: str) -> tuple[int, int | None]:
    """The places of the video's and the name's column."""
    plain = [column.strip().lower() for column in found]
    video = next((plain.index(column) for column in VIDEO_COLUMNS if column in plain), None)
    if video is None:
        told = ", ".join(found)[:200] or "nothing"
        raise ValueError(
            f"{where}: expected a column {', '.join(VIDEO_COLUMNS[:-1])} or {VIDEO_COLUMNS[-1]}, found {told}; "
            "name the column that holds the videos' paths or URLs so"
        )
    return video, plain.index(NAME_COLUMN) if NAME_COLUMN in plain else None


def _row(where: str, video: Any, name: Any) -> Row:
    if not isinstance(video, str) or not video.strip():
        raise ValueError(f"{where}: expected a path or URL of a video, found {video!r}; fill it in or remove the entry")
    return Row(where, video, str(name) if name is not None and str(name).strip() else None)
