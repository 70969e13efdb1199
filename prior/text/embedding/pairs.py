"""Clips and texts that tell what happens in them: what an embedding is learned from, as lines of JSON that people can edit.

One line is ``{"video": "a.mp4", "start": 320, "frames": 16, "texts": ["chop down a tree", ...], "kind": "dig tree"}``; paths
are relative to the file's folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.files import atomic_path


@dataclass(frozen=True)
class TextClip:
    """Frames ``start`` to ``start + frames`` of a video, at the embedder's rate, and texts of one meaning, the plainest first.

    kind: what happens, in a word or two: the texts of two clips of one kind are true of both. "" where that is not known.
    """

    video: Path
    start: int
    frames: int
    texts: tuple[str, ...]
    kind: str = ""

    def __post_init__(self) -> None:
        if self.start < 0 or self.frames < 1:
            raise ValueError(
                f"{self.video}: a clip of {self.frames} frames from frame {self.start} on; expected at least 1 from 0 on"
            )
        if not self.texts or not all(text.strip() for text in self.texts):
            raise ValueError(
                f"{self.video}: the clip at frame {self.start} has an empty text or none; give one, or leave it out"
            )

    def window(self, length: int, total: int, rng: np.random.Generator | None = None) -> int:
        """Where the ``length`` frames begin that stand for the clip in a video of ``total``: in the middle of a longer clip, or
        with ``rng`` somewhere in it, and around a shorter one. See :meth:`lies_in`."""
        spare = self.frames - length
        ahead = spare // 2 if rng is None or spare < 0 else int(rng.integers(spare + 1))
        return min(max(self.start + ahead, 0), total - length)

    def lies_in(self, length: int, total: int) -> bool:
        """Whether a video of ``total`` frames has the clip, or of a longer one ``length`` frames, and is so long itself."""
        return length <= total and self.start + min(self.frames, length) <= total


def by_video(clips: Iterable[TextClip]) -> dict[Path, list[TextClip]]:
    """Clips by their videos, in the order of the paths. A video that has two paths is one, under that of its first clip: it is
    not to be trained on under one and held back under the other."""
    found: dict[Path, list[TextClip]] = {}
    for clip in clips:
        found.setdefault(clip.video.resolve(), []).append(clip)
    return {told[0].video: told for told in sorted(found.values(), key=lambda told: told[0].video)}


def write_pairs(path: Path, clips: Iterable[TextClip]) -> None:
    """Write a file of pairs, whole or not at all."""
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as lines:
        for clip in clips:
            video = os.path.relpath(clip.video.absolute(), path.parent.absolute())
            row = {"video": video, "start": clip.start, "frames": clip.frames, "texts": clip.texts, "kind": clip.kind}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_utf8(path: Path) -> str:
    """A file's text, without a mark at its beginning. Raises ValueError, naming the file, where it is none in UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected text in UTF-8, found byte {error.object[error.start]:#04x} at {error.start}; save it as UTF-8"
        ) from error


def read_pairs(path: Path) -> list[TextClip]:
    """Raises ValueError that names the line where it is no pair, or its video does not exist, and the file where it is no text
    in UTF-8."""
    clips = []
    for number, line in enumerate(read_utf8(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            clip = _clip(json.loads(line), path.parent)
        except (ValueError, TypeError, KeyError) as error:
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(
                f'{path}, line {number}: expected {{"video": ..., "start": ..., "frames": ..., "texts": [...]}}, but {reason}'
            ) from error
        if not clip.video.is_file():
            raise ValueError(
                f"{path}, line {number}: there is no video {clip.video}; paths are relative to {path.parent}"
            )
        clips.append(clip)
    if not clips:
        raise ValueError(f"{path}: expected a clip with its texts on each line, found none")
    return clips


def _clip(row: dict[str, Any], folder: Path) -> TextClip:
    texts = row["texts"]
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ValueError("texts is no list of texts")
    return TextClip(
        folder / row["video"], int(row["start"]), int(row["frames"]), tuple(texts), str(row.get("kind", ""))
    )
