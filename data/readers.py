"""One way to read video, three decoders behind it: PyAV (the default), decord, and a pipe from the ffmpeg program.

Whoever takes a :class:`FrameReader` gets the same frames whichever backend reads them. Measured against the ffmpeg
program's own output (``tests/data/test_readers.py``): the same number of frames, the same integer pts, and for 8-bit
video with an even size the same pixels, to the last grey level. What differs, and by how much:

* Odd sizes with halved colour, and 10 bits: "ffmpeg" is exact. PyAV (and decord, which leaves these to PyAV) blends
  colours between pixels differently, ``COLOUR_TOLERANCE`` at most.
* ``size`` scales while decoding, with swscale's bilinear filter in all three: within ``SCALING_TOLERANCE`` (and equal on
  real clips). That is 4 to 6 grey levels in the mean from ``cv2.resize``, which VPT's published weights were trained on:
  scale while decoding only for models that were trained so.
* Only PyAV can say of each frame whether the decoder invented part of it. ffmpeg's messages say so too, at about the
  right frame. decord conceals spoilt pixels without a word; what it cannot decode at all goes to PyAV.
* Where damage brings frames out of their order, which is rare, PyAV gives each its own pts, the ffmpeg program a guess from
  the order in which it decodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, cast

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from data.video import VideoFrame, VideoInfo, VideoReader

Size = tuple[int, int]
"""(width, height) in pixels, of the picture as shown (after rotation)."""

SCALING_TOLERANCE = 1
"""Greatest difference, in grey levels, of a backend's frames of some ``size`` from the ffmpeg program's."""

COLOUR_TOLERANCE = (0.5, 16)
"""Mean and greatest difference, in grey levels, of PyAV's full-size frames from ffmpeg's: odd size or 10 bits only."""


class FrameReader(Protocol):
    """What :class:`data.video.VideoReader` promises, which is what reading code may use of any backend.

    Iterate once, inside ``with``. A file that cannot be read at all raises VideoError when the reader is opened;
    damage later on never raises: every frame that can be had comes, then ``damaged`` is true and ``problems`` says why.
    """

    @property
    def path(self) -> Path: ...
    @property
    def info(self) -> VideoInfo: ...
    @property
    def frames_read(self) -> int: ...
    @property
    def problems(self) -> list[str]: ...
    @property
    def damaged(self) -> bool: ...
    def __enter__(self) -> FrameReader: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def close(self) -> None: ...
    def __iter__(self) -> Iterator[VideoFrame]: ...


class ScaledVideoReader(VideoReader):
    """A VideoReader that turns and scales with ffmpeg's own filters, before the conversion to RGB: ffmpeg's pixels.

    size: (width, height) of the frames as yielded.
    """

    def __init__(self, path: Path | str, size: Size) -> None:
        self._scaled = size
        self._graph: Graph | None = None
        self._graph_for: tuple[int, int, str] | None = None
        super().__init__(path)

    def _to_rgb(self, frame: av.VideoFrame) -> NDArray[np.uint8] | None:
        if (frame.width, frame.height) != self._size:
            self._size = (frame.width, frame.height)
            self._notes.add("frames change size", f"to {frame.width}x{frame.height} at frame {self.frames_read}")
        try:
            kind = (frame.width, frame.height, frame.format.name)
            if self._graph is None or kind != self._graph_for:
                self._graph, self._graph_for = self._filters(frame), kind
            self._graph.vpush(frame)
            return cast(NDArray[np.uint8], self._graph.vpull().to_ndarray())
        except (av.FFmpegError, ValueError) as error:
            self._graph = None
            self._notes.add("frames could not be converted to RGB", f"{frame.format.name}: {error}", damage=True)
            return None

    def _filters(self, frame: av.VideoFrame) -> Graph:
        """A graph for frames like this one."""
        width, height = self._scaled
        turn = ["hflip"] if self._turn.mirror else []
        turn += {0: [], 90: ["transpose=clock"], 180: ["hflip", "vflip"], 270: ["transpose=cclock"]}[
            self._turn.clockwise
        ]
        graph = Graph()
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=self._time_base(frame)
            )
        ]
        for step in (*turn, f"scale={width}:{height}:flags=bilinear", "format=rgb24", "buffersink"):
            nodes.append(graph.add(*step.split("=", 1)))
        graph.link_nodes(*nodes).configure()
        return graph

    def _describe(self, first: av.VideoFrame) -> VideoInfo:
        return replace(super()._describe(first), width=self._scaled[0], height=self._scaled[1])


def pyav_reader(path: Path | str, size: Size | None) -> VideoReader:
    """The default backend. Raises VideoError when no frame can be decoded."""
    return VideoReader(path) if size is None else ScaledVideoReader(path, size)


def _decord(path: Path | str, size: Size | None) -> FrameReader:
    from data.reader_decord import DecordReader

    return DecordReader(path, size)


def _ffmpeg(path: Path | str, size: Size | None) -> FrameReader:
    from data.reader_ffmpeg import FFmpegReader

    return FFmpegReader(path, size)


READERS: dict[str, Callable[[Path | str, Size | None], FrameReader]] = {
    "pyav": pyav_reader,
    "decord": _decord,
    "ffmpeg": _ffmpeg,
}
"""Backends by name; each is imported when it is first opened."""


def open_reader(path: Path | str, backend: str = "pyav", size: Size | None = None) -> FrameReader:
    """A reader over the frames of ``path``, scaled to ``size`` (width, height) while decoding if one is given.

    Raises VideoError (a ValueError) when no frame can be decoded; ValueError for an unknown backend, a backend whose
    package or program is not installed, and a size below 2x2.
    """
    if backend not in READERS:
        raise ValueError(f"{path}: backend is {backend!r}; expected one of {', '.join(READERS)}")
    if size is not None and min(size) < 2:
        raise ValueError(f"{path}: size is {size[0]}x{size[1]}; expected width and height from 2")
    return READERS[backend](path, size)
