"""Writing H.264 MP4: the same frames give the same bytes, and an interrupted write leaves no file."""

from __future__ import annotations

import errno
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from data.files import atomic_path

_SECONDS_BETWEEN_KEYFRAMES = 5
"""What damage at one place of the file may cost at most; more keyframes make larger files."""


class VideoWriter:
    """Write frames at a constant rate::

        with VideoWriter("play.mp4", (640, 360), fps=20) as writer:
            writer.write(rgb)  # uint8 (height, width, 3)

    The file appears when the block ends well. size is (width, height), both even (H.264 in yuv420p needs that).
    crf: quality, 0 lossless to 51 worst. threads: 1 leaves the cores to the game that is being recorded.

    Raises ValueError for frames of another size or kind and when no frame was written; OSError naming the file when
    the disk is full or the folder cannot be written.
    """

    def __init__(
        self, path: Path | str, size: tuple[int, int], fps: int | Fraction = 20, crf: int = 20, threads: int = 1
    ) -> None:
        self.path = Path(path)
        self.size = size
        self.frames_written = 0
        width, height = size
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(
                f"{path}: size is {width}x{height}; expected even width and height from 2, so scale or crop"
            )
        if fps <= 0:
            raise ValueError(f"{path}: fps is {fps}; expected a positive rate")
        self._rate = Fraction(fps)
        self._crf = crf
        self._threads = threads
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def __enter__(self) -> VideoWriter:
        part = self._stack.enter_context(atomic_path(self.path))
        try:
            # The muxer is named, so that any suffix holds an MP4; without wall-clock times the bytes repeat.
            options = {"movflags": "+faststart", "fflags": "+bitexact"}
            self._container = av.open(f"file:{part.absolute()}", "w", format="mp4", options=options)
            stream = self._container.add_stream("libx264", rate=self._rate)
            stream.width, stream.height = self.size
            stream.pix_fmt = "yuv420p"
            stream.thread_count = self._threads
            stream.time_base = stream.codec_context.time_base = 1 / self._rate
            keyframes = max(1, round(_SECONDS_BETWEEN_KEYFRAMES * self._rate))
            stream.options = {"crf": str(self._crf), "preset": "veryfast", "g": str(keyframes)}
            self._stream = stream
        except BaseException as error:
            self._abandon()
            raise self._named(error) from error
        return self

    def write(self, rgb: NDArray[np.uint8]) -> None:
        """Append one frame, uint8 (height, width, 3)."""
        if self._container is None or self._stream is None:
            raise ValueError(f"{self.path}: the VideoWriter is not open; use it as `with VideoWriter(...) as writer:`")
        shape = (self.size[1], self.size[0], 3)
        if rgb.shape != shape or rgb.dtype != np.uint8:
            raise ValueError(f"{self.path}: frame is {rgb.dtype} {rgb.shape}; expected uint8 {shape}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts = self.frames_written
        frame.time_base = 1 / self._rate
        try:
            self._container.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise self._named(error) from error
        self.frames_written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon()
            return
        try:
            self._finish()
        except BaseException as failure:
            self._abandon()
            raise self._named(failure) from failure
        self._stack.close()

    def _finish(self) -> None:
        if self.frames_written == 0:
            raise ValueError(f"{self.path}: no frame was written; a video needs at least one")
        assert self._container is not None and self._stream is not None
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._container = None

    def _abandon(self) -> None:
        """Close what is open and remove the temporary file, whatever state the muxer is in."""
        if self._container is not None:
            with suppress(av.FFmpegError, ValueError):  # the error that brought us here is the one to tell
                self._container.close()
            self._container = None
        abandoned = RuntimeError("abandoned")
        self._stack.__exit__(RuntimeError, abandoned, None)

    def _named(self, error: BaseException) -> BaseException:
        """An FFmpeg error as an OSError that names the artefact; any other error unchanged."""
        if not isinstance(error, av.FFmpegError):
            return error
        number: Any = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
        reason = error.strerror or str(error)
        return OSError(
            number, f"cannot write {self.path}: {reason}; free space there or choose another folder", str(self.path)
        )
