"""What models read of videos, decoded while they are used and kept nowhere: for more play than a disk has room for.

Training plays episodes from front to back, so a video that is being played stays open, and each of its frames is decoded,
scaled and compared with the one before once. The numbers are those of :func:`data.input_cache.cached_inputs`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.frame_inputs import Eye, InputShape, Views
from data.tick_plan import TickPlan

SKIP = 400
"""Ticks that a reader rather decodes for nothing than that the video is opened once more."""

Draw = Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]]
"""Changes a frame, given its tick: draws the cursor in."""


@dataclass
class _Reader:
    """A video that is being played: the tick to be read next, the frames from it on, and the eye that saw those before."""

    at: int
    frames: Iterator[NDArray[np.uint8]]
    eye: Eye


@dataclass
class OpenVideos:
    """The readers of all videos of a training, of which at most ``most`` are open: the ones used last."""

    most: int = 32
    _readers: OrderedDict[int, tuple[StreamedInputs, _Reader]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, video: StreamedInputs, tick: int) -> _Reader | None:
        """The reader of a video that has come nearest to a tick, for the caller alone until it puts it back."""
        with self._lock:
            mine = [
                (reader.at, key)
                for key, (owner, reader) in self._readers.items()
                if owner is video and tick - SKIP <= reader.at <= tick
            ]
            return self._readers.pop(max(mine)[1])[1] if mine else None

    def put(self, video: StreamedInputs, reader: _Reader) -> None:
        """Keep a reader for what comes next."""
        with self._lock:
            self._readers[id(reader)] = (video, reader)
            while len(self._readers) > self.most:
                self._readers.popitem(last=False)  # its file is closed with it


class StreamedInputs:
    """A video's inputs at ``shape.rate`` frames a second, as :class:`data.frame_inputs.FrameInputs` gives them out.

    Raises IrregularVideo for a video that can only be read from its beginning, VideoError for one that cannot be read at all.
    """

    def __init__(self, video: Path, shape: InputShape, videos: OpenVideos, draw: Draw | None = None) -> None:
        self.video, self.shape = video, shape
        self._videos, self._draw = videos, draw
        self._plan = TickPlan.of(video, shape.rate)

    def __len__(self) -> int:
        return len(self._plan)

    def views(self, rows: NDArray[np.int64], first: NDArray[np.bool_]) -> Views:
        """As :meth:`data.frame_inputs.FrameInputs.views`. Raises IrregularVideo where the file is not as its index says."""
        alone, seen = first | (rows == 0), list[Views]()
        start = int(rows[0]) - (0 if alone[0] or self.shape.flow_size is None else 1)
        reader = self._videos.take(self, int(rows[0])) or self._open(start)
        for row, begins in zip(rows.tolist(), alone.tolist(), strict=True):
            while reader.at < row:
                reader.eye.pass_by(next(reader.frames))
                reader.at += 1
            if begins:
                reader.eye.reset()
            seen.append(reader.eye.look(next(reader.frames)))
            reader.at += 1
        if reader.at < len(self):
            self._videos.put(self, reader)
        return Views(np.concatenate([view.images for view in seen]), np.concatenate([view.motion for view in seen]))

    def _open(self, start: int) -> _Reader:
        ticks = self._plan.span(start, len(self)).read(self.video)
        if self._draw is None:
            return _Reader(start, (tick.rgb for tick in ticks), Eye(self.shape))
        draw = self._draw
        return _Reader(start, (draw(tick.tick, tick.rgb) for tick in ticks), Eye(self.shape))
