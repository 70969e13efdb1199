"""Finding recordings: a video, and beside it what was recorded with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contractor import ContractorTrack, read_contractor

VIDEO_SUFFIXES: frozenset[str] = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".nut", ".ogv", ".ts", ".webm", ".wmv"}
)
"""What :func:`find_recordings` takes for a video, in either case; the contents decide when it is read."""


NOVICE_SPANS, SLIP_SPANS = "novice_spans", "slip_spans"
"""In the meta file: frames, from and to (that one not included), in which somebody acted who is not to be copied, and in which
the player's hand slipped."""


def spans_of(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Stretches of what is True, from and to (that one not included)."""
    edges = np.flatnonzero(np.diff([False, *flags, False]))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


@dataclass(frozen=True)
class Recording:
    """One video with its companions: ``NAME.mp4``, and where they exist ``NAME.jsonl`` and ``NAME.meta.json``."""

    video: Path
    actions: Path | None = None
    meta: Path | None = None

    @classmethod
    def beside(cls, video: Path | str) -> Recording:
        """The recording of a video, with the companions that lie beside it."""
        video = Path(video)
        actions, meta = video.with_suffix(".jsonl"), video.with_suffix(".meta.json")
        return cls(video, actions if actions.is_file() else None, meta if meta.is_file() else None)

    @property
    def name(self) -> str:
        return self.video.stem

    def load_actions(self) -> ContractorTrack:
        """The recorded actions, a row a frame. Raises ValueError when there are none or they cannot be read."""
        if self.actions is None:
            expected = self.video.with_suffix(".jsonl").name
            raise ValueError(f"{self.video}: has no recorded actions; expected {expected} beside it")
        return read_contractor(self.actions)

    def load_meta(self) -> dict[str, Any]:
        """Game, task, seed and the like; empty when nothing was recorded. Raises ValueError for a broken file."""
        if self.meta is None:
            return {}
        try:
            content = json.loads(self.meta.read_bytes())
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.meta}: expected a JSON object, found none ({error}); remove or mend it") from error
        if not isinstance(content, dict):
            raise ValueError(f"{self.meta}: expected a JSON object, found {type(content).__name__}; remove or mend it")
        return content

    def to_copy(self, frames: int) -> NDArray[np.bool_]:
        """bool (frames,): False where a novice acted or a hand slipped: from that one may learn what actions look like, but not
        what to do.

        Raises ValueError for a meta file that tells of it in another way.
        """
        copied, meta = np.ones(frames, bool), self.load_meta()
        for kind in (NOVICE_SPANS, SLIP_SPANS):
            spans = meta.get(kind, [])
            try:
                for start, end in spans:
                    copied[int(start) : int(end)] = False
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{self.meta}: {kind} is {spans!s:.60}; expected pairs of frame numbers, from and to"
                ) from error
        return copied


def find_recordings(folder: Path | str) -> list[Recording]:
    """Every video in a folder and its subfolders, sorted by path; a single video file is a list of one.

    Hidden files and folders are not looked at. Raises ValueError for a folder that does not exist, and for two videos
    of one name that would share their recorded actions (``a.mp4`` and ``a.mkv`` beside ``a.jsonl``).
    """
    folder = Path(folder)
    if folder.is_file():
        return [Recording.beside(folder)]
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of recordings or a video, found nothing there; check the path")
    videos = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and not _hidden(path.relative_to(folder)) and path.is_file()
    )
    recordings = [Recording.beside(video) for video in videos]
    shared = Counter(companion for r in recordings for companion in (r.actions, r.meta) if companion)
    for recording in recordings:
        for companion in (recording.actions, recording.meta):
            if companion and shared[companion] > 1:
                both = [str(r.video) for r in recordings if companion in (r.actions, r.meta)]
                raise ValueError(f"{companion}: belongs to {' and '.join(both)}; rename all but one of these videos")
    return recordings


def _hidden(inside: Path) -> bool:
    """Also covers unfinished artefacts, whose names begin with a dot."""
    return any(part.startswith(".") for part in inside.parts)
