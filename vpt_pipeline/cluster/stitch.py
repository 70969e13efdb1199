"""The raw labels of a video's spans -> its label table, as if one worker had labelled it from its beginning to its end."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.files import atomic_path, sha256_file
from data.label_parts import find_parts, merge_parts
from data.labels import FLAGS, LabelTable
from idm.calibration import Calibration
from idm.labelling import PartWriter, RawLabels, in_parts
from vpt_pipeline.cluster.wire import Arrays
from vpt_pipeline.cluster.worker import from_arrays

BINS = 20
"""Of the histogram of confidence that is kept of each video."""


class SeamError(Exception):
    """Spans do not fit together; the video must be labelled by one worker."""


class SpoiltSpanError(Exception):
    """A span's file is not what was written; ``first`` says which must be labelled again."""

    def __init__(self, first: int, why: str) -> None:
        super().__init__(why)
        self.first = first


@dataclass(frozen=True)
class SpanFile:
    """Where the raw labels of a span lie, and what they must be."""

    path: Path
    sha256: str
    first: int
    stop: int | None
    start: int
    frames: int
    time_base: tuple[int, int]
    edges: dict[int, str]


def write_span(path: Path, labels: Arrays) -> str:
    """Whole or not at all; returns the file's SHA-256."""
    with atomic_path(path) as part, part.open("wb") as stream:
        np.savez(stream, **labels)  # type: ignore[arg-type]
    return sha256_file(path)


def require_seams(spans: list[SpanFile]) -> None:
    """Raises SeamError unless each span begins where the one before ends, and both saw the same pictures there."""
    for before, after in itertools.pairwise(spans):
        block = after.first
        if before.stop != block or before.start + before.frames != after.start:
            raise SeamError(
                f"spans do not meet: one ends at frame {before.start + before.frames}, the next begins at {after.start}"
            )
        if before.edges.get(block) != after.edges.get(block) or block not in after.edges:
            raise SeamError(f"two workers saw different pictures around frame {after.start}")


def _raw(spans: list[SpanFile]) -> Iterator[RawLabels]:
    for span in spans:
        if not span.path.is_file() or sha256_file(span.path) != span.sha256:
            raise SpoiltSpanError(span.first, f"{span.path}: missing or changed since it was written")
        with np.load(span.path, allow_pickle=False) as arrays:
            yield from_arrays({name: arrays[name] for name in arrays.files}, span.start, span.time_base)


def stitch(
    name: str, spans: list[SpanFile], block: int, table: Path, calibration: Calibration, doubt: float
) -> dict[str, Any]:
    """Write the table; returns its SHA-256, rows, and what is told of the video's labels.

    Memory is that of one span. Raises SeamError or SpoiltSpanError.
    """
    require_seams(spans)
    parts = table.with_name(f"{table.name}.parts")
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    try:
        writer, tally = PartWriter(name, parts, calibration, doubt), Tally()
        for part in in_parts(_raw(spans), block):
            tally.add(writer.write(part))
        merge_parts(find_parts(parts), table)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return {"sha256": sha256_file(table), "rows": tally.rows, "labels": tally.told()}


class Tally:
    """What is told of a video's labels at the end of a job: frames by confidence, and how many are null, in a menu ..."""

    def __init__(self) -> None:
        self.rows = 0
        self._flags = dict.fromkeys(FLAGS, 0)
        self._confidence = np.zeros(BINS, np.int64)
        self._sums = np.zeros(2)

    def add(self, table: LabelTable) -> None:
        self.rows += len(table)
        for flag in self._flags:
            self._flags[flag] += int(getattr(table, flag).sum())
        least = np.minimum(table.conf_buttons, table.conf_camera)
        self._confidence += np.histogram(least, BINS, (0.0, 1.0))[0]
        self._sums += (table.conf_buttons.sum(dtype=np.float64), table.conf_camera.sum(dtype=np.float64))

    def told(self) -> dict[str, Any]:
        mean = self._sums / max(self.rows, 1)
        return {
            **self._flags,
            "confidence": self._confidence.tolist(),
            "conf_buttons": round(float(mean[0]), 6),
            "conf_camera": round(float(mean[1]), 6),
        }
