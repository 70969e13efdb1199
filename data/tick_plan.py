"""Which frame each tick of a video shows, known before anything is decoded, so that many can share one long video.

Ticks are counted from the video's beginning, so whoever reads only its middle must know what lies before. The timestamps
alone decide it: :func:`data.resample.at_rate` runs over them once, and what it says of a span's ticks travels with the span.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.resample import ResampleReport, TickFrame, at_rate
from data.video import VideoFrame
from data.video_index import SpanReader, VideoIndex


@dataclass(frozen=True)
class TickSpan:
    """T consecutive ticks, from tick ``start`` on, and how to read them.

    source_frame: int32 (T,). resampled: bool (T,). pts: int64 (F,) of the source frames from the first to the last of
    them, those too that no tick shows. start_pts: that of the keyframe to decode from.
    """

    start: int
    source_frame: NDArray[np.int32]
    resampled: NDArray[np.bool_]
    pts: NDArray[np.int64]
    start_pts: int
    time_base: Fraction

    def read(self, path: Path | str) -> Iterator[TickFrame]:
        """The ticks, exactly as a reading from the beginning gives them. Raises IrregularVideo if that cannot be."""
        first, tick = int(self.source_frame[0]), 0
        with SpanReader(path, self.pts, first, self.time_base, self.start_pts) as reader:
            for frame in reader:
                while tick < len(self.source_frame) and self.source_frame[tick] == frame.index:
                    flagged = bool(self.resampled[tick])
                    yield TickFrame(self.start + tick, frame.index, frame.pts, frame.time_base, frame.rgb, flagged)
                    tick += 1


@dataclass(frozen=True)
class TickPlan:
    """All T ticks of a video: source_frame int32 (T,), resampled bool (T,), and what resampling did."""

    index: VideoIndex
    source_frame: NDArray[np.int32]
    resampled: NDArray[np.bool_]
    report: ResampleReport

    @classmethod
    def of(cls, path: Path | str, rate: int) -> TickPlan:
        """Raises IrregularVideo where a video must be read from the beginning, VideoError where it cannot be read."""
        index, report = VideoIndex.of(path), ResampleReport()
        nothing = np.zeros((0, 0, 3), np.uint8)
        frames = (VideoFrame(n, int(pts), index.time_base, nothing) for n, pts in enumerate(index.pts))
        ticks = [(tick.source_index, tick.resampled) for tick in at_rate(frames, rate, report)]
        source, resampled = zip(*ticks, strict=True)
        return cls(index, np.array(source, np.int32), np.array(resampled, bool), report)

    def __len__(self) -> int:
        return len(self.source_frame)

    def span(self, start: int, stop: int) -> TickSpan:
        """Ticks start to stop (exclusive; cut at the video's end)."""
        source = self.source_frame[start:stop]
        # Up to the next tick's frame: those between that no tick shows are checked, too.
        end = int(self.source_frame[stop]) if stop < len(self) else len(self.index.pts)
        pts, start_pts = self.index.span(int(source[0]), max(end, int(source[-1]) + 1))
        return TickSpan(start, source, self.resampled[start:stop], pts, start_pts, self.index.time_base)
