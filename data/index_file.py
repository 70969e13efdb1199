"""OpenAI's index files: JSON that lists recordings, ``{"basedir": "https://.../", "relpaths": ["8.0/NAME.mp4", ...]}``.

Beside each video lies its ``.jsonl``. An index comes from the net and its paths become paths on this machine, so one
that leads out of its folder is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from data.download import Patience, fetch_bytes

MAX_BYTES = 256 << 20
_STRANGE = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff]|^[A-Za-z]:")
_LONGEST_NAME = 200  # of the 255 bytes that file systems allow, some are needed for names of unfinished files


@dataclass(frozen=True)
class IndexEntry:
    """One recording. Paths are relative to the index's folder, and to the folder it is fetched into.

    video: ``8.0/NAME.mp4``. actions: what the actions beside it may be called, likeliest first. recorder: the version
    of the recorder, from the folder's name ("8.0"); None if the path does not tell.
    """

    video: str
    actions: tuple[str, ...]
    recorder: str | None


@dataclass(frozen=True)
class IndexFile:
    """What an index lists, in its order. basedir: an http(s) address that ends in a slash. problems: what was left out."""

    source: str
    basedir: str
    entries: tuple[IndexEntry, ...]
    problems: tuple[str, ...]

    def url(self, relpath: str) -> str:
        """The address of a path of this index."""
        return self.basedir + quote(relpath)


def read_index(source: Path | str, patience: Patience | None = None) -> IndexFile:
    """Read an index from a file or an http(s) address.

    Raises ValueError, naming the source and what was expected, for anything that is no index, and for one with an
    absolute path, a path that climbs out of its folder or one with hidden or strange names in it. Entries that are no
    .mp4, or twice there, are left out and told in ``problems``.
    """
    name = str(source)
    content = (
        fetch_bytes(name, MAX_BYTES, patience or Patience(attempts=3)) if _is_address(name) else _read(Path(source))
    )
    try:
        index = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{name}: expected an index file in JSON, found none ({error!s:.200}); get it again"
        ) from error
    if not isinstance(index, dict) or "basedir" not in index or "relpaths" not in index:
        found = f"keys {sorted(index)[:8]}" if isinstance(index, dict) else f"a {type(index).__name__}"
        raise ValueError(
            f'{name}: expected {{"basedir": ..., "relpaths": [...]}}, found {found}; is this an index file?'
        )
    basedir, relpaths = _basedir(name, index["basedir"]), index["relpaths"]
    if not isinstance(relpaths, list) or not all(isinstance(path, str) for path in relpaths):
        raise ValueError(f'{name}: expected "relpaths" to be a list of texts; is this an index file?')
    for path in relpaths:
        _require_inside(name, path)
    videos = [path for path in relpaths if path.endswith(".mp4") and _fits(path)]
    entries = tuple(_entry(video, set(videos)) for video in dict.fromkeys(videos))
    if not entries:
        raise ValueError(f"{name}: expected paths of .mp4 files, found {len(relpaths)} paths, none of them such a one")
    return IndexFile(name, basedir, entries, _left_out(relpaths, videos, len(entries)))


def _is_address(source: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None  # other schemes are refused where it is fetched


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{path}: is {size / 2**20:,.0f} MiB, expected an index of at most {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as an index: {error.strerror}; give its path or address") from error


def _basedir(source: str, basedir: Any) -> str:
    try:
        parts = urlsplit(basedir) if isinstance(basedir, str) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        parts, good = None, False
    if (
        not good
        or parts is None
        or parts.query
        or parts.fragment
        or parts.username
        or re.search(r"[^\x21-\x7e]", basedir)
    ):
        raise ValueError(
            f'{source}: "basedir" is {basedir!r:.100}, expected an http or https address without query and user name'
        )
    return str(basedir) if basedir.endswith("/") else f"{basedir}/"


def _require_inside(source: str, path: str) -> None:
    parts = path.split("/")
    if (
        not all(parts)
        or any(part.startswith(".") for part in parts)
        or re.search(r"[\\\x00-\x1f\x7f\ud800-\udfff]|^[A-Za-z]:", path)
    ):
        raise ValueError(
            f"{source}: lists {path!r:.200}, expected a path inside its folder such as '8.0/NAME.mp4', without hidden or "
            "strange names; nothing of this index is used"
        )


def _fits(path: str) -> bool:
    return all(len(part.encode("utf-8", "replace")) <= _LONGEST_NAME for part in path.split("/"))


def _entry(video: str, videos: set[str]) -> IndexEntry:
    """Actions are called as the video is; or, as the published loader takes it, as the name is up to its first dot,
    unless that is another video's."""
    folder, slash, name = video.rpartition("/")
    own, first = video.removesuffix(".mp4"), f"{folder}{slash}{name.split('.')[0]}"
    stems = (own,) if first == own or f"{first}.mp4" in videos else (own, first)
    version = next((part for part in folder.split("/") if re.fullmatch(r"\d+(\.\d+)+", part)), None)
    return IndexEntry(video, tuple(f"{stem}.jsonl" for stem in stems), version)


def _left_out(relpaths: list[str], videos: list[str], entries: int) -> tuple[str, ...]:
    others = [path for path in relpaths if not (path.endswith(".mp4") and _fits(path))]
    problems = [f"{len(others)} entries are no .mp4 file or too long, as {others[0]!r:.100}"] if others else []
    if len(videos) > entries:
        problems.append(f"{len(videos) - entries} entries are there twice")
    return tuple(problems)
