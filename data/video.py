"""Reading video frame by frame: any container and codec that FFmpeg knows, with exact timestamps, in bounded memory.

Damage is normal in collected video, so it is not an exception here: a :class:`VideoReader` yields every frame that can
be decoded, goes on past what cannot, and lists what was wrong in ``problems``. An exception (:class:`VideoError`)
means that not one frame can be had, and says why.

Frames come in presentation order, turned as the container asks (phones store a rotation), at the size that is stored
(a pixel aspect ratio is not applied).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from data.video_decode import AUTO_THREADS, DecodePass, Notes, PassStoppedError, Turn, UnreadableError, open_input
from data.video_writer import VideoWriter

__all__ = ["VideoError", "VideoFrame", "VideoInfo", "VideoReader", "VideoWriter", "probe", "read_frames"]


class VideoError(ValueError):
    """A video that cannot be used, or (from :func:`read_frames`) that ended in damage after ``frames_read`` frames."""

    def __init__(self, message: str, frames_read: int = 0) -> None:
        super().__init__(message)
        self.frames_read = frames_read


@dataclass(frozen=True)
class VideoInfo:
    """What the container and the first frame say. Nothing here is verified against the rest of the file.

    width, height: of the frames as yielded, after rotation. frame_rate: the average, None if unknown.
    rotation: degrees clockwise (0, 90, 180, 270) that were applied. frames: the announced count, None if not announced.
    """

    path: Path
    width: int
    height: int
    frame_rate: Fraction | None
    duration_s: float | None
    codec: str
    rotation: int
    frames: int | None


@dataclass(frozen=True)
class VideoFrame:
    """One frame: ``pts * time_base`` seconds is when it appears; rgb is uint8 (height, width, 3).

    index counts the frames that were decoded, from 0. damaged: the decoder had to invent part of the picture.
    """

    index: int
    pts: int
    time_base: Fraction
    rgb: NDArray[np.uint8]
    damaged: bool = False


class VideoReader:
    """Iterate once over the frames of a video::

        with VideoReader("play.mp4") as reader:
            for frame in reader:
                ...
            print(reader.frames_read, reader.damaged, reader.problems)

    threads: 1, a number, or "auto" (one per core). Frames and timestamps are the same whatever it is: threaded decoding
    loses frames in flight where a file is damaged, so at the first sign of damage the file is decoded again on one
    thread. But what a decoder invents for spoilt pixels may differ with threads, hence 1 is the default: read several
    files at once instead.

    Raises VideoError at once when no frame can be decoded.
    """

    def __init__(self, path: Path | str, threads: int | Literal["auto"] = 1) -> None:
        self.path = Path(path)
        self.frames_read = 0
        if threads != "auto" and threads < 1:
            raise ValueError(f'threads is {threads}; expected "auto" or a number from 1')
        self._threads = AUTO_THREADS if threads == "auto" else threads
        self._notes = Notes()
        self._converter = VideoReformatter()  # one for all frames: making one costs as much as it does
        self._started = False
        self._anchor = (0, 0)  # pts to count on from for frames without one, and how many have been counted
        self._pass = self._open(self._threads)
        try:
            self._frames = self._decode()
            first = next(self._frames, None)
            if first is None:
                raise VideoError(f"{self.path}: no frame can be decoded{self._because()}; get the file again")
        except BaseException:
            self.close()
            raise
        self._first: av.VideoFrame | None = first
        self._size = (first.width, first.height)
        self._turn = Turn.of(first)
        self.info = self._describe(first)

    def _open(self, threads: int) -> DecodePass:
        try:
            return open_input(self.path, threads, self._notes)
        except UnreadableError as error:
            raise VideoError(f"{self.path}: {error}") from error

    @property
    def problems(self) -> list[str]:
        """What was wrong with the file, so far; one line a kind, with its count. Complete once iteration has ended."""
        return self._notes.lines()

    @property
    def damaged(self) -> bool:
        """Whether frames are missing or spoilt (and not merely unusual), so far."""
        return self._notes.damaged

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._pass.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        self._start_once()
        frame, self._first = self._first, None
        while frame is not None:
            rgb = self._to_rgb(frame)
            if rgb is not None:
                yield VideoFrame(
                    self.frames_read, self._timestamp(frame), self._time_base(frame), rgb, frame.is_corrupt
                )
                self.frames_read += 1
            frame = next(self._frames, None)

    def _start_once(self) -> None:
        if self._started:
            raise ValueError(f"{self.path}: a {type(self).__name__} can be iterated once; open another")
        self._started = True

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every frame of the file, in spite of damage; see the class on threads."""
        done = 0
        if self._threads != 1:
            try:
                for frame in self._pass.frames(stop_at_damage=True):
                    yield frame
                    done += 1
                return
            except PassStoppedError:
                self._pass.close()
                self._notes.clear()
                self._pass = self._open(1)
        for index, frame in enumerate(self._pass.frames(stop_at_damage=False)):
            if index >= done:
                yield frame

    def _to_rgb(self, frame: av.VideoFrame) -> NDArray[np.uint8] | None:
        if (frame.width, frame.height) != self._size:
            self._size = (frame.width, frame.height)
            self._notes.add("frames change size", f"to {frame.width}x{frame.height} at frame {self.frames_read}")
        try:
            rgb = cast(
                NDArray[np.uint8], self._converter.reformat(frame, format="rgb24", threads=self._threads).to_ndarray()
            )
        except (av.FFmpegError, ValueError) as error:
            self._notes.add("frames could not be converted to RGB", f"{frame.format.name}: {error}", damage=True)
            return None
        return self._turn.apply(rgb)

    def _time_base(self, frame: av.VideoFrame) -> Fraction:
        return frame.time_base or self._pass.time_base

    def _timestamp(self, frame: av.VideoFrame) -> int:
        """The frame's pts; for a frame without one, the time at which the previous frame should have ended."""
        if frame.pts is not None:
            self._anchor = (frame.pts, 1)
            return frame.pts
        rate = self.info.frame_rate or Fraction(30)
        self._notes.add("frames without a timestamp", f"frame {self.frames_read}; {float(rate):g} frames/s assumed")
        start, count = self._anchor
        self._anchor = (start, count + 1)
        return start + round(count / (rate * self._time_base(frame)))  # not summed: rounding must not drift

    def _describe(self, first: av.VideoFrame) -> VideoInfo:
        width, height = self._size if self._turn.keeps_shape else self._size[::-1]
        return VideoInfo(
            path=self.path,
            width=width,
            height=height,
            frame_rate=self._pass.frame_rate,
            duration_s=self._pass.duration_s,
            codec=self._pass.codec,
            rotation=self._turn.clockwise,
            frames=self._pass.announced_frames,
        )

    def _because(self) -> str:
        lines = self.problems
        return f" ({'; '.join(lines)})" if lines else ""


def probe(path: Path | str) -> VideoInfo:
    """What a video is, from its header and first frame. Raises VideoError when no frame can be decoded."""
    with VideoReader(path, threads=1) as reader:
        return reader.info


def read_frames(path: Path | str, threads: int | Literal["auto"] = 1) -> Iterator[VideoFrame]:
    """Every decodable frame; then, if frames were missing or spoilt, VideoError with ``frames_read``.

    For those who must not go on with half a video; use :class:`VideoReader` to take what there is.
    """
    with VideoReader(path, threads) as reader:
        yield from reader
        if reader.damaged:
            raise VideoError(
                f"{path}: damaged; {reader.frames_read} frames could be read ({'; '.join(reader.problems)}); "
                "get the file again, or read it with VideoReader to use what there is",
                reader.frames_read,
            )
