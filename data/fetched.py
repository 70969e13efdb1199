"""One published recording brought to this machine: downloaded, checked, put in place; and the list of all of them."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from data.contractor import read_records
from data.download import MissingError, Patience, UnreachableError, discard, download
from data.files import PART_MARK, sha256_file, write_json_atomic
from data.index_file import IndexEntry, IndexFile
from data.video import probe

FETCHED_VERSION = 1

Status = Literal["done", "missing", "broken", "failed"]
"""missing: the server does not have it. broken: it is of no use as it lies there. failed: could not be had this time."""


@dataclass(frozen=True)
class FetchedFile:
    """A file as it lies in the folder, and where it came from."""

    url: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class FetchedRecording:
    """What became of one recording of an index. seconds: of video. broken_records: lines of the actions that are unusable.

    video, actions: None unless done. problem: why it is not done.
    """

    status: Status
    recorder: str | None = None
    seconds: float = 0.0
    broken_records: int = 0
    video: FetchedFile | None = None
    actions: FetchedFile | None = None
    problem: str | None = None


@dataclass
class FetchedList:
    """What was fetched into a folder: ``fetched.json``. recordings is keyed by the video's path in the folder."""

    recordings: dict[str, FetchedRecording] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        write_json_atomic(path, {"version": FETCHED_VERSION, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> FetchedList:
        """Read the list; empty if there is none. Raises ValueError, naming the file, for anything else."""
        if not path.exists():
            return cls()
        try:
            content = json.loads(path.read_bytes())
            if content["version"] != FETCHED_VERSION:
                raise ValueError(f"version {content['version']}, expected {FETCHED_VERSION}")
            return cls({name: _recording(entry) for name, entry in content["recordings"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: expected the list of what was fetched into this folder, found none ({error!r}); "
                "give another folder, or remove this file: recordings that are there are then checked and taken up again"
            ) from error


def _recording(entry: dict[str, Any]) -> FetchedRecording:
    if entry["status"] not in get_args(Status):
        raise ValueError(f"status {entry['status']!r}, expected one of {get_args(Status)}")
    files = {key: FetchedFile(**entry[key]) if entry[key] else None for key in ("video", "actions")}
    return FetchedRecording(**{**entry, **files})


class BrokenError(ValueError):
    """What the server has is of no use."""


@dataclass(frozen=True)
class Fetcher:
    """Brings recordings of an index into a folder, the paths there as in the index. Used by several threads at once.

    arrived: called with the number of new bytes. stop: set it to end at the next block.
    """

    index: IndexFile
    folder: Path
    patience: Patience
    arrived: Callable[[int], None]
    stop: threading.Event

    def fetch(self, entry: IndexEntry, trust: bool = True) -> FetchedRecording:
        """Download and check a recording; :meth:`put_in_place` then makes it appear.

        trust: take files that already have its names for it, if they can be used and no new ones are on the way: the
        list of them may be lost.
        A recording that cannot be had or used is a result, not an error. Raises StoppedError, and OSError when the disk
        cannot be written.
        """
        video, actions = self.paths(entry)
        begun = any(part_of(path).exists() for path in (video, actions))
        if trust and not begun and video.is_file() and actions.is_file():
            with suppress(BrokenError):
                return self._checked(entry, video, actions, entry.actions[0])
        try:
            relpath = self._download_actions(entry, part_of(actions))  # first: small, and more often missing
            _require_records(part_of(actions), self.index.url(relpath))
            download(self.index.url(entry.video), part_of(video), self.patience, self.arrived, self.stop)
            return self._checked(entry, part_of(video), part_of(actions), relpath)
        except MissingError as error:
            discard(part_of(actions))
            return FetchedRecording("missing", entry.recorder, problem=str(error))
        except UnreachableError as error:
            return FetchedRecording("failed", entry.recorder, problem=str(error))
        except BrokenError as error:
            for path in (video, actions):
                discard(part_of(path))
            return FetchedRecording("broken", entry.recorder, problem=str(error))

    def paths(self, entry: IndexEntry) -> tuple[Path, Path]:
        """Where video and actions of a recording go."""
        video = self.folder / entry.video
        return video, video.with_suffix(".jsonl")

    def put_in_place(self, entry: IndexEntry) -> None:
        """Give a fetched recording its names: the video last, so that wherever it is seen its actions are there."""
        for path in reversed(self.paths(entry)):
            if part_of(path).exists():
                part_of(path).replace(path)
            discard(part_of(path))

    def _download_actions(self, entry: IndexEntry, part: Path) -> str:
        """Returns the path in the index under which they were found. Raises MissingError if under none."""
        for number, relpath in enumerate(entry.actions, 1):
            try:
                download(self.index.url(relpath), part, self.patience, self.arrived, self.stop)
                return relpath
            except MissingError:
                if number == len(entry.actions):
                    raise
        raise AssertionError("an entry has at least one name for its actions")

    def _checked(self, entry: IndexEntry, video: Path, actions: Path, relpath: str) -> FetchedRecording:
        """Raises BrokenError unless the video has a frame and a length, and the actions a record."""
        video_url, actions_url = self.index.url(entry.video), self.index.url(relpath)
        broken = _require_records(actions, actions_url)
        try:
            seconds = probe(video).duration_s
        except ValueError as error:
            raise BrokenError(f"{video_url}: {str(error).removeprefix(f'{video}: ')}") from error
        if seconds is None or not 0 < seconds < math.inf:
            raise BrokenError(f"{video_url}: does not say how long it is, expected a whole video")
        files = _described(video_url, video), _described(actions_url, actions)
        return FetchedRecording("done", entry.recorder, round(seconds, 3), broken, *files)


def part_of(final: Path) -> Path:
    """Where a file lies while it is incomplete. Hidden, so that nobody takes it for a recording."""
    return final.with_name(f".{final.name}{PART_MARK}")


def _described(url: str, path: Path) -> FetchedFile:
    return FetchedFile(url, path.stat().st_size, sha256_file(path))


def _require_records(path: Path, url: str) -> int:
    """How many lines are unusable. Raises BrokenError when all are."""
    records, problems = read_records(path)
    if not any(records):
        raise BrokenError(f"{url}: {problems[0].removeprefix(f'{path}:') if problems else 'has no line'}")
    return len(problems)
