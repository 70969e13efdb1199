"""Reading a range of a video's frames from the nearest key frame, or refusing: never other frames than a full reading.

A long video can so be shared by many workers::

    index = VideoIndex.of("play.mp4")                    # once: a look at every packet, no decoding
    pts, start_pts = index.span(first, last)             # a worker's share
    with SpanReader("play.mp4", pts, first, index.time_base, start_pts) as reader:
        for frame in reader: ...

What is promised: if spans that together hold all frames of a file are read and none raises :class:`IrregularVideo`,
their frames are those of ``VideoReader(path)`` (one thread), in index, pts and pixels, and that reader has no problems
to tell. A single span cannot know of damage before it, so once any span has raised, what the others gave is void and
the video is to be read from its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from data.video import VideoError, VideoFrame, VideoReader
from data.video_decode import DecodePass, Notes, UnreadableError, open_input
from data.video_restart import DoubtError, RestartPoints, restart_points

_CONTAINERS = frozenset({"mp4", "matroska"})
"""Those that say when every frame is shown (MOV is read as mp4, WebM as matroska). AVI, FLV, MPEG-TS do not, or guess."""


class IrregularVideo(ValueError):  # noqa: N818
    """The video cannot be read from the middle with certainty; read it from the start instead."""


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """When the frames of one video are shown, and where decoding may begin.

    pts: (F,) of every frame, ascending, which is the order in which a VideoReader yields them; in ``time_base`` seconds.
    keyframes: (K,) ascending, a part of pts: nothing before one of them and nothing after it needs the other side.
    """

    pts: NDArray[np.int64]
    time_base: Fraction
    keyframes: NDArray[np.int64]

    @classmethod
    def of(cls, path: Path | str) -> VideoIndex:
        """From all packets and the first frame of a file.

        Raises IrregularVideo with the reason where anything is doubtful, VideoError where VideoReader would.
        """
        path = Path(path)
        with VideoReader(path) as reader:
            first = next(iter(reader))
            problems = reader.problems
        notes = Notes()
        try:
            source = open_input(path, 1, notes)
        except UnreadableError as error:
            raise VideoError(f"{path}: {error}") from error
        try:
            index = cls._of_packets(source, notes)
            problems += notes.lines()
            if problems:
                raise DoubtError("; ".join(problems))
            if (first.pts, first.time_base) != (int(index.pts[0]), index.time_base):
                raise DoubtError(f"the first frame shown is at pts {first.pts}, the first packet's at {index.pts[0]}")
        except DoubtError as error:
            raise IrregularVideo(
                f"{path}: cannot be read from the middle with certainty, found {error}; read it from the start instead"
            ) from error
        finally:
            source.close()
        return index

    @classmethod
    def _of_packets(cls, source: DecodePass, notes: Notes) -> VideoIndex:
        if not source.formats & _CONTAINERS:
            raise DoubtError(
                f"a container ({', '.join(sorted(source.formats))}) other than MP4, MOV, Matroska and WebM"
            )
        restarts = restart_points(source.codec_standard, source.codec_header)
        looked = [_look(packet, restarts) for packet in source.packets() if packet is not None]
        if not looked:
            raise DoubtError("no packets")
        stored = np.array([pts for pts, _ in looked], np.int64)
        pts = np.unique(stored)
        if len(pts) < len(stored):
            raise DoubtError(f"{len(stored) - len(pts)} packets with the pts of another")
        if source.counted and source.announced_frames != len(pts):
            raise DoubtError(f"{source.announced_frames} frames announced, {len(pts)} packets")
        source.note_early_end(len(pts), len(pts), int(pts[-1]) * source.time_base)
        # Decoding may only begin where all that is stored before is shown before, and all after, after: no open GOP.
        clean = (np.maximum.accumulate(stored) == stored) & (np.minimum.accumulate(stored[::-1])[::-1] == stored)
        begins = stored[clean & np.array([restart for _, restart in looked])]
        if not len(begins) or begins[0] != stored[0]:
            raise DoubtError("a first packet that is no complete key frame")
        return cls(pts, source.time_base, begins)

    def span(self, first: int, last: int) -> tuple[NDArray[np.int64], int]:
        """What a SpanReader of frames ``first`` to before ``last`` needs: their pts, and that of the key frame before.

        Raises ValueError unless 0 <= first < last <= F.
        """
        if not 0 <= first < last <= len(self.pts):
            raise ValueError(f"span is {first} to {last}; expected 0 <= first < last <= {len(self.pts)} frames")
        before = int(np.searchsorted(self.keyframes, self.pts[first], side="right"))
        return self.pts[first:last], int(self.keyframes[before - 1])


def _look(packet: av.Packet[VideoStream], restarts: RestartPoints) -> tuple[int, bool]:
    """A packet's pts, and whether decoding may begin at it."""
    if packet.pts is None:
        raise DoubtError("packets without a pts")
    try:
        if packet.is_discard:
            raise DoubtError("packets that are not to be shown, as an edit list makes them")
        if packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change"):
            raise DoubtError("decoding parameters change on the way")
        restart = restarts.at(bytes(packet))
    except DoubtError as error:
        raise DoubtError(f"{error} (pts {packet.pts})") from error
    return packet.pts, restart and packet.is_keyframe


class SpanReader(VideoReader):
    """A VideoReader of frames ``first`` to ``first + len(pts) - 1`` alone, whose index counts from the file's start.

    pts: (N,) those of the wanted frames; start_pts: that of the key frame at which to begin decoding; both as
    :meth:`VideoIndex.span` gives them.

    Iterating raises IrregularVideo as soon as anything is not as the index says, before the frame in question.
    Raises VideoError when the file cannot be opened any more, ValueError for a span that is none.
    """

    def __init__(self, path: Path | str, pts: NDArray[np.int64], first: int, time_base: Fraction, start_pts: int):
        self._wanted = [int(when) for when in pts]
        self._first_index = first
        self._span_time_base = time_base
        self._start_pts = int(start_pts)
        if not self._wanted or self._start_pts > self._wanted[0] or first < 0:
            raise ValueError(f"{path}: {len(pts)} frames from {first}, decoded from pts {start_pts}, are not a span")
        super().__init__(path)  # the file's first frame says its size and rotation
        try:
            self._refuse_problems()
            self._pass.close()
            self._pass = self._open(1)  # a decoder that has seen nothing yet
            self._pass.give_up_at_errors()
            # A fragmented MP4's time can depend on the fragments before. Passing over packets undecoded is quick.
            if first and ("mp4" not in self._pass.formats or self._pass.announced_frames):
                self._pass.seek(self._start_pts)
        except av.FFmpegError as error:
            self.close()
            raise self._irregular(f"going to pts {self._start_pts} failed: {error}") from error
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[VideoFrame]:
        self._start_once()
        held: av.VideoFrame | None = None  # one frame back, so that the next has been checked before it is given out
        place = 0
        for pts, frame in self._in_order():
            if pts < self._wanted[0]:
                continue
            if held is not None:
                yield self._finished(held)
                held = None
            if place == len(self._wanted):
                return
            if pts != self._wanted[place]:
                raise self._irregular(f"expected pts {self._wanted[place]}, found {pts}", place)
            held, place = frame, place + 1
        if place < len(self._wanted):
            raise self._irregular("missing at the end", place)
        if held is not None:
            yield self._finished(held)

    def _in_order(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames from the key frame on with their pts, as long as they are whole, alike and ascending."""
        last: int | None = None
        for frame in self._decoded():
            if last is None and frame.pts != self._start_pts:
                raise self._irregular(f"decoding began at pts {frame.pts}, not at the key frame's {self._start_pts}")
            if frame.pts is None or (last is not None and frame.pts <= last):
                raise self._irregular(f"a frame at pts {frame.pts} follows the one at {last}")
            if frame.is_corrupt:
                raise self._irregular(f"the frame at pts {frame.pts} is partly invented by the decoder")
            if (frame.width, frame.height) != self._size:
                raise self._irregular(f"the size changes to {frame.width}x{frame.height}")
            if self._time_base(frame) != self._span_time_base:
                raise self._irregular(f"time counts in {self._time_base(frame)} s, in the index {self._span_time_base}")
            last = frame.pts
            yield frame.pts, frame

    def _decoded(self) -> Iterator[av.VideoFrame]:
        begun = False
        for packet in self._pass.packets():
            self._refuse_problems()
            if not begun:
                if packet is None or packet.pts is None or packet.pts > self._start_pts:
                    found = "the end" if packet is None else f"pts {packet.pts}"
                    raise self._irregular(f"expected to begin at the key frame of pts {self._start_pts}, found {found}")
                begun = packet.pts == self._start_pts
                if not begun:
                    continue
                if not packet.is_keyframe:
                    raise self._irregular(f"what is stored at pts {self._start_pts} is no key frame")
            frames = self._pass.decode(packet)
            self._refuse_problems()
            yield from frames

    def _finished(self, frame: av.VideoFrame) -> VideoFrame:
        rgb = self._to_rgb(frame)
        self._refuse_problems()
        assert rgb is not None and frame.pts is not None  # else there would have been a problem
        self.frames_read += 1
        return VideoFrame(
            self._first_index + self.frames_read - 1, frame.pts, self._span_time_base, rgb, frame.is_corrupt
        )

    def _refuse_problems(self) -> None:
        if self.problems:
            raise self._irregular("; ".join(self.problems))

    def _irregular(self, found: str, place: int | None = None) -> IrregularVideo:
        frame = self._first_index + (self.frames_read if place is None else place)
        return IrregularVideo(f"{self.path}: frame {frame} or near it: {found}; read the video from its start instead")
