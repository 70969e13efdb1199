"""The frames of a video that stand for a goal: what is seen in the moments before some second of it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.resample import TickFrame, at_rate
from data.tick_plan import TickPlan
from data.video import VideoReader
from data.video_index import IrregularVideo
from prior.text.embedding.embedder import Frames


def frames_until(video: Path, second: float | None, count: int, rate: int) -> Frames:
    """The last ``count`` frames of a video up to a second of it (None: its end), at ``rate`` a second: uint8 (T, H, W, 3), RGB.

    Only what is needed is decoded, where the video lets itself be read from the middle. Raises ValueError for a video that
    cannot be read, and for one in which there are not so many frames before that second.
    """
    if not video.is_file():
        raise ValueError(f"{video}: expected a video to take a goal from, found no such file")
    if second is not None and not math.isfinite(second):
        raise ValueError(f"{video}: expected a second of it to take a goal from, found {second}")
    last = None if second is None else round(second * rate)
    if last is not None and last < count - 1:
        raise ValueError(
            f"{video}: expected a second of at least {(count - 1) / rate:g}, as a goal is what {count} frames show at {rate} a "
            f"second; found {second:g}"
        )
    try:
        plan = TickPlan.of(video, rate)
        stop = len(plan) if last is None else min(last + 1, len(plan))
        found = list(plan.span(max(0, stop - count), stop).read(video))
    except IrregularVideo:
        with VideoReader(video) as reader:
            found = list(deque(_until(at_rate(reader, rate), last), count))
    if last is not None and found[-1].tick < last:
        raise ValueError(f"{video}: it is {(found[-1].tick + 1) / rate:g} seconds long; there is no second {second:g}")
    if len(found) < count:
        raise ValueError(
            f"{video}: {len(found)} frames at {rate} a second; expected at least {count} to take a goal from"
        )
    return np.stack([frame.rgb for frame in found])


def _until(frames: Iterator[TickFrame], last: int | None) -> Iterator[TickFrame]:
    for frame in frames:
        yield frame
        if frame.tick == last:
            return
