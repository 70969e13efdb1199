"""Frames from the ffmpeg program through a pipe, with ffmpeg-python: decoding outside this process.

A decoder that crashes or eats memory takes the program with it, not the caller. The pictures come on the program's
standard output; when each is shown, and what went wrong, comes from its messages: the filter ``showinfo`` writes a line
before each picture, with the pts in the container's time base. Return code and messages are both read, because
ffmpeg ends with code 0 on most damaged files.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from data.readers import Size
from data.video import VideoError, VideoFrame, probe
from data.video_decode import Notes

_SHOWN = re.compile(r"^\[Parsed_showinfo_\d+ @ \w+\] \[info\] n: *\d+ pts: *(-?\d+|NOPTS) .* s:(\d+)x(\d+) ")
_TIME_BASE = re.compile(r"^\[Parsed_showinfo_\d+ @ \w+\] \[info\] config in time_base: (\d+)/(\d+)")
_ERROR = re.compile(r"^(?:\[(?!rawvideo)[^\]]+\] )?\[(?:error|fatal|panic)\] (.*)")  # rawvideo has no times to be wrong
_SPOILT = re.compile(r"concealing \d+ DC|corrupt decoded frame|corrupt input packet|Packet corrupt")


@dataclass(frozen=True)
class _Shown:
    """What a line of showinfo says of the picture that follows: pts None if it has none."""

    pts: int | None
    size: Size
    spoilt: bool


class FFmpegReader:
    """A :class:`data.readers.FrameReader`. A frame is ``damaged`` when ffmpeg complained just before it.

    Raises VideoError when no frame can be decoded, ValueError when ffmpeg-python or the ffmpeg program is missing.
    """

    def __init__(self, path: Path | str, size: Size | None = None) -> None:
        self.path = Path(path)
        self.frames_read = 0
        self._notes = Notes()
        self._started = self._closed = False
        self._counted = False  # whether the container (MP4) knows how many frames it has; others guess
        command = _command(self.path, size)
        self.info = probe(self.path)  # one frame by PyAV: the same description, and the same refusals, as there
        if size is not None:
            self.info = replace(self.info, width=size[0], height=size[1])
        self._time_base = Fraction(0)  # set by the first message of showinfo
        self._anchor = (0, 0)  # as in VideoReader: pts to count on from, and how many have been counted
        self._shown: SimpleQueue[_Shown | None] = SimpleQueue()
        self._program: subprocess.Popen[bytes] = command.run_async(pipe_stdout=True, pipe_stderr=True)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self._frames = self._read()
            self._first = next(self._frames, None)
            if self._first is None:
                raise VideoError(f"{path}: ffmpeg decodes no frame ({'; '.join(self.problems)}); get the file again")
        except BaseException:
            self.close()
            raise

    @property
    def problems(self) -> list[str]:
        return self._notes.lines()

    @property
    def damaged(self) -> bool:
        return self._notes.damaged

    def __enter__(self) -> FFmpegReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the program, wherever it is."""
        self._closed = True
        if self._program.poll() is None:
            self._program.kill()
        self._program.wait()
        self._listener.join()
        for pipe in (self._program.stdout, self._program.stderr):
            if pipe is not None:
                pipe.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        if self._started:
            raise ValueError(f"{self.path}: an FFmpegReader can be iterated once; open another")
        self._started = True
        frame, self._first = self._first, None
        while frame is not None:
            yield frame
            self.frames_read += 1
            if self._closed:
                raise ValueError(f"{self.path}: closed while it was read; iterate inside the `with` block")
            frame = next(self._frames, None)

    def _read(self) -> Iterator[VideoFrame]:
        """A message, then its picture, until there are no more; then the return code."""
        index = 0
        size: Size | None = None
        while (shown := self._shown.get()) is not None:
            if size is not None and shown.size != size:
                self._notes.add("frames change size", f"to {shown.size[0]}x{shown.size[1]} at frame {index}")
            size = shown.size
            rgb = _picture(self._program.stdout, size)
            if rgb is None:
                self._notes.add("pictures were cut off", f"frame {index}", damage=True)
                break
            yield VideoFrame(index, self._timestamp(index, shown.pts), self._time_base, rgb, shown.spoilt)
            index += 1
        code = self._program.wait()
        if code != 0 and not self._closed:
            self._notes.add("ffmpeg failed", f"return code {code} after {index} frames", damage=True)
        if self._counted and index < (self.info.frames or 0) and not self.damaged:
            # An edit list hides frames on purpose; what is cut off made ffmpeg complain.
            self._notes.add("fewer frames than announced", f"{self.info.frames} announced, {index} shown")

    def _timestamp(self, index: int, pts: int | None) -> int:
        if pts is not None:
            self._anchor = (pts, 1)
            return pts
        rate = self.info.frame_rate or Fraction(30)
        self._notes.add("frames without a timestamp", f"frame {index}; {float(rate):g} frames/s assumed")
        start, count = self._anchor
        self._anchor = (start, count + 1)
        return start + round(count / (rate * self._time_base))

    def _listen(self) -> None:
        """Sort the program's messages; runs beside the reading, because a full pipe would stop the program."""
        spoilt = False
        assert self._program.stderr is not None
        for raw in self._program.stderr:
            line = raw.decode(errors="replace").rstrip()
            if found := _SHOWN.match(line):
                pts = None if found[1] == "NOPTS" else int(found[1])
                self._shown.put(_Shown(pts, (int(found[2]), int(found[3])), spoilt))
                spoilt = False
            elif found := _TIME_BASE.match(line):
                self._time_base = Fraction(int(found[1]), int(found[2]))
            elif line.startswith("[info] Input #0, mov,mp4"):
                self._counted = True
            elif _SPOILT.search(line):
                spoilt = True
                self._notes.add("ffmpeg met damage", line[:200], damage=True)
            elif found := _ERROR.match(line):
                self._notes.add("ffmpeg reported errors", found[1][:200], damage=True)
        self._shown.put(None)


def _picture(pipe: IO[bytes] | None, size: Size) -> NDArray[np.uint8] | None:
    """uint8 (height, width, 3), or None when the pipe ends before the picture does."""
    assert pipe is not None
    width, height = size
    rgb = np.empty((height, width, 3), np.uint8)
    rest = rgb.reshape(-1).data
    while rest:
        count = pipe.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            return None
        rest = rest[count:]
    return rgb


def _command(path: Path, size: Size | None) -> Any:
    """ffmpeg-python's command: every frame of the first real video stream as rgb24, each told by showinfo."""
    try:
        ffmpeg = import_module("ffmpeg")
        if not hasattr(ffmpeg, "run_async"):
            raise ImportError('the package "ffmpeg" is installed instead, which has the same name')
    except ImportError as error:
        raise ValueError(
            f'{path}: backend "ffmpeg" needs the package ffmpeg-python, which cannot be imported ({error}); '
            'run `pip install ffmpeg-python`, or choose the backend "pyav"'
        ) from error
    program = shutil.which("ffmpeg")
    if program is None:
        raise ValueError(
            f'{path}: backend "ffmpeg" needs the program ffmpeg, which is not on the PATH; install it '
            '(Debian: `apt-get install ffmpeg`), or choose the backend "pyav"'
        )
    scale = f"scale={size[0]}:{size[1]}:flags=bilinear," if size else ""
    # One decoding thread: messages of several would run into each other.
    source = ffmpeg.input(f"file:{path.absolute()}", protocol_whitelist="file,crypto,data", threads=1)
    # setpts after showinfo: the raw output has no times, but complains about two frames at one.
    options = {
        "map": "0:V:0",
        "vf": f"{scale}format=rgb24,showinfo=checksum=0,setpts=N",
        "enc_time_base": "-1",
        "format": "rawvideo",
        "pix_fmt": "rgb24",
        _passthrough_option(program): "passthrough",
    }
    return source.output("pipe:", **options).global_args(
        "-nostdin", "-nostats", "-hide_banner", "-copyts", "-loglevel", "level+info"
    )


@lru_cache
def _passthrough_option(program: str) -> str:
    """How this version is told to neither repeat nor drop frames: ``vsync`` before 5.1, ``fps_mode`` since."""
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"ffmpeg version n?(\d+)\.(\d+)", said)
    return "vsync" if version and (int(version[1]), int(version[2])) < (5, 1) else "fps_mode"
