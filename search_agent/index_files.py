"""An index on disk: about.json, and for an approximate one a file of codes. Latents are referred to, never copied.

The codes get a new name at each save, and about.json, which is written last, says which file they are in: whoever is
killed while saving leaves the index as it was.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from data.files import atomic_path, sha256_file, write_json_atomic
from data.json_config import JsonConfig, require_kinds
from search_agent.budget import Budget
from search_agent.distances import METRICS, Metric
from search_agent.held_out import Measured
from search_agent.segments import Segment, Segments, Source

if TYPE_CHECKING:
    from search_agent.approximate import Approximate

VERSION = 1
_ABOUT = "about.json"
Part = TypeVar("Part", bound=JsonConfig)


@dataclass(frozen=True)
class SegmentRecord(JsonConfig):
    """A segment as it was indexed. path: as seen from the index's folder, None for latents that were in memory."""

    name: str
    rows: int
    digest: str
    path: str | None = None


@dataclass(frozen=True)
class CodesRecord(JsonConfig):
    """The file of codes."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class About(JsonConfig):
    """What about.json says. Rows are counted, times are in milliseconds, spreads are squared distances."""

    metric: Metric
    dims: int
    rows: int
    built_rows: int
    code: str | None
    reason: str
    exact_ms: float
    budget: dict[str, Any]
    version: int = VERSION
    probes: int = 0
    depth: int = 0
    recall: dict[str, dict[str, float]] = field(default_factory=dict)
    spread: float = 0.0
    added: int = 0
    added_spread: float = 0.0
    removed: int = 0
    build_s: float = 0.0
    segments: list[dict[str, Any]] = field(default_factory=list)
    codes: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        return "exact" if self.code is None else f"approximate ({self.code})"


def save(folder: Path, segments: Segments, about: About, approximate: Approximate | None) -> About:
    """Write an index; returns what about.json says now."""
    folder.mkdir(parents=True, exist_ok=True)
    codes = None
    if approximate is not None:
        path = folder / f"codes-{secrets.token_hex(4)}.faiss"
        with atomic_path(path) as part:
            approximate.write(part)
        codes = asdict(CodesRecord(path.name, path.stat().st_size, sha256_file(path)))
    records = [SegmentRecord(s.name, len(s.latents), s.digest(), _seen_from(folder, s.path)) for s in segments.all]
    about = replace(about, segments=[asdict(record) for record in records], codes=codes)
    write_json_atomic(folder / _ABOUT, about.to_dict())
    for old in folder.glob("codes-*.faiss"):
        if codes is None or old.name != codes["file"]:
            old.unlink(missing_ok=True)
    return about


def _seen_from(folder: Path, path: Path | None) -> str | None:
    return None if path is None else os.path.relpath(path.resolve(), folder.resolve())


def load(folder: Path, sources: Mapping[str, Source]) -> tuple[Segments, About, Approximate | None]:
    """Raises ValueError for whatever is not as it was saved."""
    about = _read_about(folder / _ABOUT)
    records = [_known(SegmentRecord, values, folder / _ABOUT) for values in about.segments]
    segments = Segments([_segment(folder, record, sources) for record in records])
    for what, expected, found in (("dims", about.dims, segments.dims), ("rows", about.rows, segments.rows)):
        if expected != found:
            raise ValueError(
                f"{folder / _ABOUT}: says {what} {expected}, its segments have {found}; build the index again"
            )
    if about.code is None:
        return segments, about, None
    return segments, about, _codes(folder, about)


def _read_about(path: Path) -> About:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path.parent} holds no index: expected {path.name}, found none; build one there") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); build the index again") from error
    found = values.get("version") if isinstance(values, dict) else None
    if found != VERSION:
        raise ValueError(f"{path}: expected an index of version {VERSION}, found {found}; build the index again")
    if values.get("metric") not in METRICS:
        raise ValueError(
            f"{path}: expected a metric of {', '.join(METRICS)}, found {values.get('metric')!r}; build the index again"
        )
    about = _known(About, values, path)
    _known(Budget, about.budget, path)
    for measured in about.recall.values():
        _known(Measured, measured, path)
    if about.code is not None and min(about.probes, about.depth) < 1:
        raise ValueError(
            f"{path}: probes is {about.probes}, depth {about.depth}; expected 1 or more; build the index again"
        )
    return about


def _known(kind: type[Part], values: Mapping[str, Any], path: Path) -> Part:
    """A part of about.json. Raises ValueError for settings that are unknown, missing or of another kind."""
    try:
        part = kind.from_dict(values, str(path))
        require_kinds(part, str(path))
    except ValueError as error:
        raise ValueError(f"{error}; build the index again") from error
    return part


def _segment(folder: Path, record: SegmentRecord, sources: Mapping[str, Source]) -> Segment:
    source = sources.get(record.name, None if record.path is None else folder / record.path)
    if source is None:
        raise ValueError(
            f"{folder / _ABOUT}: segment {record.name!r} was indexed from memory; say where its latents are"
        )
    segment = Segment.of(record.name, source)
    where = f"{segment.path or 'latents'} (segment {record.name!r})"
    mend = "put the indexed latents back, or remove the segment and append it, or build the index again"
    if len(segment.latents) != record.rows:
        raise ValueError(f"{where}: expected {record.rows} rows, as indexed, found {len(segment.latents)}; {mend}")
    if (found := segment.digest()) != record.digest:
        raise ValueError(f"{where}: expected latents {record.digest[:12]}, found others, {found[:12]}; {mend}")
    return segment


def _codes(folder: Path, about: About) -> Approximate:
    from search_agent.approximate import Approximate

    record = _known(CodesRecord, about.codes or {}, folder / _ABOUT)
    path = folder / record.file
    if not path.is_file():
        raise ValueError(f"{path}: expected the index's codes, found no such file; build the index again")
    found = path.stat().st_size
    if found != record.bytes:
        raise ValueError(f"{path}: expected {record.bytes} bytes, found {found}; build the index again")
    if (digest := sha256_file(path)) != record.sha256:
        raise ValueError(
            f"{path}: expected sha256 {record.sha256}, found {digest}: it is damaged; build the index again"
        )
    approximate = Approximate.mapped(path, about.metric)
    if approximate.rows != about.rows:
        raise ValueError(
            f"{path}: expected codes of {about.rows} rows, found {approximate.rows}; build the index again"
        )
    return approximate
