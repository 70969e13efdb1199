"""What is told of a labelling job as a whole: gathered from its books video by video, in memory that hardly grows."""

from __future__ import annotations

import heapq
import re
from array import array
from collections import Counter
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from data.labels import FLAGS
from vpt_pipeline.cluster.books import Video
from vpt_pipeline.cluster.manifest import problems, resampling
from vpt_pipeline.cluster.stitch import BINS

LISTED_GIVEN_UP, LISTED_ODD = 300, 60
"""So many videos are listed with what was wrong; a page of more is not read."""
RANKED = 8
_KINDS = 2000


class Ranking:
    """The few videos with the highest scores."""

    def __init__(self, most: int = RANKED) -> None:
        self._most, self._heap = most, list[tuple[float, int, Video]]()

    def add(self, score: float, video: Video) -> None:
        item = (score, -video.id, video)  # of equals the earlier
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)

    def videos(self) -> list[Video]:
        """Highest first."""
        return [video for _, _, video in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


class Listing:
    """The first of many videos with something to tell, and how often each kind of thing was told."""

    def __init__(self, most: int) -> None:
        self._most, self.count = most, 0
        self.first: list[tuple[Video, list[str]]] = []
        self.kinds: Counter[str] = Counter()
        """How many videos had it, by what was told without the names and numbers in it."""

    def add(self, video: Video, told: list[str]) -> None:
        self.count += 1
        if len(self.first) < self._most:
            self.first.append((video, told))
        for kind in {kind_of(line, video) for line in told}:
            self.kinds[kind if kind in self.kinds or len(self.kinds) < _KINDS else "something else"] += 1


class Overview:
    """``add`` each video, then read what the attributes hold.

    states, seconds: videos and seconds of work by state. frames, confidence (int64, BINS bins of the least of both heads,
    0 to 1) and flags: of all videos that are done, beside counted, the frames of the videos in which a flag was counted.
    buttons, camera, null: one number a done video that has frames: mean confidences, and the share of null actions.
    """

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.seconds = {"open": 0.0, "done": 0.0, "quarantined": 0.0}
        self.frames = self.bytes = self.resampled = 0
        self.flags: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.confidence: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.buttons, self.camera, self.null = array("f"), array("f"), array("f")
        self.given_up, self.odd = Listing(LISTED_GIVEN_UP), Listing(LISTED_ODD)
        self.least_sure, self.slowest, self.longest = Ranking(), Ranking(), Ranking()

    def add(self, video: Video) -> None:
        self.states[video.state] += 1
        self.seconds[video.state] += video.seconds
        self.longest.add(video.seconds, video)
        if video.state == "quarantined":
            self.given_up.add(video, [video.error or "no error was noted"])
        if video.state == "done":
            self._add_labels(video)

    def _add_labels(self, video: Video) -> None:
        rows, labels = video.rows or 0, video.facts.get("labels", {})
        self.frames += rows
        self.bytes += video.bytes or 0
        self.resampled += bool(resampling(video))
        if told := problems(video):
            self.odd.add(video, told)
        if not rows or not labels:
            return
        for flag in FLAGS:
            if flag in labels:
                self.flags[flag] += labels[flag]
                self.counted[flag] += rows
        self.confidence += np.array(labels["confidence"], np.int64)
        self.buttons.append(labels["conf_buttons"])
        self.camera.append(labels["conf_camera"])
        self.null.append(labels["null"] / rows)
        self.least_sure.add(-least_confidence(video), video)
        self.slowest.add(video.seconds / rows, video)

    def share(self, flag: str) -> float | None:
        """Of the frames with this flag; None if it was not counted."""
        return self.flags[flag] / self.counted[flag] if self.counted[flag] else None


def least_confidence(video: Video) -> float:
    """Mean over frames of the least of both heads, from the histogram: to half a bin."""
    counts = np.array(video.facts["labels"]["confidence"], np.float64)
    middles = (np.arange(len(counts)) + 0.5) / len(counts)
    return float((counts * middles).sum() / max(counts.sum(), 1))


_FILE = re.compile(r"(\S*/)?FILE[^\s:;,)]*")
_NUMBER = re.compile(r"[-+]?\b\d[\d,]*(\.\d+)?\b")
_SHORTEST_NAME = 4
"""Shorter names may be words of the message."""


def kind_of(told: str, video: Video) -> str:
    """What was told, without the video's names and numbers: the same for all files with the same trouble."""
    for name in (video.url, PurePosixPath(video.url).name, video.name):
        if len(name) >= _SHORTEST_NAME:
            told = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "FILE", told)
    return _NUMBER.sub("N", _FILE.sub("FILE", told))[:300]
