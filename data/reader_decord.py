"""Frames by decord, which is fast and fragile; where it is known to be wrong, PyAV goes on in its place.

decord 0.6.0, measured: it fails on most turned video, shows 10-bit video in other colours, mixes up the frames of
MPEG-TS, gives nothing of a truncated MP4, loses a whole batch of frames to one exception (and batches after it), and
fills gaps with copies of other frames. So the file's packets are listed with PyAV first (that is also where exact
timestamps come from: decord's are rounded to float), decord's first frame is compared with PyAV's, its copies are made
an error, and at the first sign of trouble PyAV decodes the rest. ``problems`` says so.

What remains: decord does not say when a decoder concealed spoilt pixels. Use PyAV where that matters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from data.readers import SCALING_TOLERANCE, Size, pyav_reader
from data.video import VideoFrame
from data.video_decode import Notes

_NO_COPIES = 1e-9
"""decord's ``fault_tol`` as a share of the frames: one frame replaced by a copy of another is already an error."""

_BATCH_BYTES = 1 << 24
"""Frames are fetched in batches of about 16 MiB: calls are dear, memory must not grow with the picture."""


class DecordReader:
    """A :class:`data.readers.FrameReader`. To be opened in the process that uses it: after a fork, decord hangs.

    Raises VideoError when no frame can be decoded, ValueError when decord is not installed.
    """

    def __init__(self, path: Path | str, size: Size | None = None) -> None:
        decord = _import_decord(path)
        self.path = Path(path)
        self.frames_read = 0
        self._process = os.getpid()
        self._notes = Notes()
        self._started = self._handed_over = False
        self._pyav = pyav_reader(path, size)
        self.info = self._pyav.info
        self._spare = iter(self._pyav)
        self._first: VideoFrame | None = next(self._spare, None)
        self._decord: Any = None
        try:
            self._pts, self._time_base = _packet_times(self.path)
            self._decord = self._open(decord, size)
        except _NotForDecordError as reason:
            self._hand_over(str(reason))
        except BaseException:
            self.close()
            raise

    def _open(self, decord: Any, size: Size | None) -> Any:
        width, height = size or (-1, -1)
        try:
            reader = decord.VideoReader(
                str(self.path.absolute()), width=width, height=height, num_threads=1, fault_tol=_NO_COPIES
            )
            count, shown = len(reader), reader.get_batch([0]).asnumpy()[0]
        except Exception as error:
            raise _NotForDecordError(f"decord fails: {_short(error)}") from error
        if count != len(self._pts):
            raise _NotForDecordError(f"decord counts {count} frames, the file has {len(self._pts)}")
        if self._first is None or not _alike(shown, self._first.rgb):
            raise _NotForDecordError("decord shows its first frame differently")
        return reader

    @property
    def problems(self) -> list[str]:
        return self._notes.lines() + (self._pyav.problems if self._handed_over else [])

    @property
    def damaged(self) -> bool:
        return self._notes.damaged or (self._handed_over and self._pyav.damaged)

    def __enter__(self) -> DecordReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._decord = None
        self._pyav.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        self._check_process()
        if self._started:
            raise ValueError(f"{self.path}: a DecordReader can be iterated once; open another")
        self._started = True
        last: int | None = None
        for start, batch in self._batches():
            for index, rgb in enumerate(batch, start):
                yield VideoFrame(index, self._pts[index], self._time_base, rgb)
                self.frames_read += 1
                last = self._pts[index]
        if self._handed_over:
            for frame in self._rest():
                if last is None or frame.pts > last:  # pts order is decord's order, see _packet_times
                    yield VideoFrame(self.frames_read, frame.pts, frame.time_base, frame.rgb, frame.damaged)
                    self.frames_read += 1

    def _batches(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Index of the first frame, and frames uint8 (count, height, width, 3), until decord is done or fails."""
        if self._handed_over:
            return
        at_once = int(np.clip(_BATCH_BYTES // (self.info.width * self.info.height * 3), 1, 64))
        for start in range(0, len(self._pts), at_once):
            self._check_process()
            if self._decord is None:
                raise ValueError(f"{self.path}: closed while it was read; iterate inside the `with` block")
            try:
                batch = self._decord.get_batch(list(range(start, min(start + at_once, len(self._pts))))).asnumpy()
            except Exception as error:
                self._hand_over(f"decord fails at frame {start}: {_short(error)}")
                return
            yield start, batch

    def _rest(self) -> Iterator[VideoFrame]:
        if self._first is not None:
            yield self._first
        yield from self._spare

    def _hand_over(self, reason: str) -> None:
        """From here on PyAV decodes. No damage in itself: PyAV says whether there is any."""
        self._notes.add("PyAV decodes instead of decord", reason)
        self._handed_over = True
        self._decord = None

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ValueError(
                f"{self.path}: opened in process {self._process} and read in process {os.getpid()}, where decord would "
                "hang; expected one process: open the reader after the fork"
            )


class _NotForDecordError(Exception):
    """A file that decord does not read right; the message says why."""


def _import_decord(path: Path | str) -> Any:
    try:
        return import_module("decord")
    except ImportError as error:
        raise ValueError(
            f'{path}: backend "decord" needs the package decord, which cannot be imported ({error}); '
            'run `pip install decord==0.6.0` (Linux x86-64), or choose the backend "pyav"'
        ) from error


def _packet_times(path: Path) -> tuple[list[int], Fraction]:
    """The pts of all frames in the order they are shown, and their time base; the file is read, nothing is decoded.

    Raises _NotForDecordError for a file whose list is in doubt.
    """
    pts: list[int] = []
    with av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file,crypto,data"}) as container:
        stream = next(s for s in container.streams.video if not (s.disposition & s.disposition.attached_pic))
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.pts is None or packet.is_discard or packet.is_corrupt:
                    raise _NotForDecordError("packets without a time, incomplete, or not to be shown")
                pts.append(packet.pts)
        except av.FFmpegError as error:
            raise _NotForDecordError(f"reading packets fails: {error}") from error
        time_base = stream.time_base
        announced = stream.frames if "mp4" in container.format.name else 0  # other containers only guess
    if time_base is None or len(set(pts)) < len(pts) or len(pts) < announced:
        raise _NotForDecordError("the list of packets is incomplete or has two at one time")
    return sorted(pts), time_base


def _alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return one.shape == other.shape and bool(np.abs(one.astype(np.int16) - other).max() <= SCALING_TOLERANCE)


def _short(error: Exception) -> str:
    """decord's errors carry a stack trace; the first line says what happened."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
