"""The decoding under :mod:`data.video`: one pass over a file, going on past damage. Nothing else should import it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

AUTO_THREADS = 0
"""FFmpeg's own word for one thread per core."""

_MAX_PIXELS = 1 << 27
"""Frames above this (134 megapixels) come from damaged headers; decoding them would only eat the memory."""

_MAX_ERRORS_IN_A_ROW = 64
"""Read errors without a packet between them, after which the rest of a file is given up."""


class UnreadableError(Exception):
    """Not one frame can be had; the message says what was found, expected, and what to do."""


class PassStoppedError(Exception):
    """A threaded pass met a sign of damage."""


class Notes:
    """Problems by kind, with a count and the first example each: bounded however bad the file is."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, str]] = {}
        self.damaged = False

    def add(self, kind: str, example: str, damage: bool = False) -> None:
        count, first = self._kinds.get(kind, (0, example))
        self._kinds[kind] = (count + 1, first)
        self.damaged |= damage

    def clear(self) -> None:
        self._kinds.clear()
        self.damaged = False

    def lines(self) -> list[str]:
        return [f"{count} x {kind} (first: {first})" for kind, (count, first) in self._kinds.items()]


@dataclass(frozen=True)
class Turn:
    """How to show a stored picture: mirror it left to right if ``mirror``, then turn it ``clockwise`` degrees."""

    clockwise: int = 0
    mirror: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Turn:
        """From the frame's display matrix, which maps stored (x, y) to (a*x + c*y, b*x + d*y); to the nearest 90."""
        side = frame.side_data.get("DISPLAYMATRIX")
        if side is None:
            return cls()
        a, b, _, c, d = np.frombuffer(cast(bytes, side), "<i4")[:5].astype(np.int64)
        mirror = bool(a * d - b * c < 0)
        if mirror:
            a, b = -a, -b  # what is left once the picture has been mirrored
        return cls(int(np.round(np.degrees(np.arctan2(b, a)) / 90)) % 4 * 90, mirror)

    @property
    def keeps_shape(self) -> bool:
        return self.clockwise % 180 == 0

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.mirror:
            rgb = rgb[:, ::-1]
        return np.ascontiguousarray(np.rot90(rgb, -(self.clockwise // 90)))


def open_input(path: Path, threads: int, notes: Notes) -> DecodePass:
    """Open a file for one pass. Raises UnreadableError when it is no file, no video, or needs an unknown decoder."""
    if not path.exists():
        raise UnreadableError("no such file; check the path")
    if not path.is_file():
        raise UnreadableError("expected a video file, found a folder or device; name the file itself")
    if path.stat().st_size == 0:
        raise UnreadableError("expected a video file, found an empty one (0 bytes); get the file again")
    try:
        # "file:" keeps a colon in a name from being taken for a protocol; the list keeps playlists off the network.
        options = {"protocol_whitelist": "file,crypto,data"}
        container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="ignore")
    except PermissionError as error:
        raise UnreadableError(f"cannot be opened: {error.strerror}; change its permissions") from error
    except (av.FFmpegError, ValueError, OSError) as error:
        raise UnreadableError(
            f"expected a video file, found {_what_is(path)} ({_reason(error)}); get the file again"
        ) from error
    try:
        return DecodePass(container, _video_stream(container), threads, notes)
    except BaseException:
        container.close()
        raise


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _what_is(path: Path) -> str:
    """A guess at why a file does not open, for the message."""
    with path.open("rb") as stream:
        head = stream.read(12)
    if head[4:8] == b"ftyp":
        return "an MP4 whose index (moov) is missing or broken, which is how an unfinished recording or download looks"
    if not any(head):
        return "a file that begins with zeros, as a failed copy leaves it"
    return f"something else, beginning with {head[:8]!r}"


def _video_stream(container: av.container.InputContainer) -> VideoStream:
    streams = [s for s in container.streams.video if not (s.disposition & s.disposition.attached_pic)]
    if not streams:
        found = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise UnreadableError(f"expected a video stream, found only: {found}; this is not a video")
    # An unknown codec has no context, whatever the type stubs say.
    stream = next((s for s in streams if s.codec_context is not None), None)
    if stream is None:
        raise UnreadableError(
            "no decoder for its video stream in this FFmpeg; convert it, e.g. to H.264 with the program that made it"
        )
    return stream


class DecodePass:
    """One pass over the frames of an open container."""

    def __init__(self, container: av.container.InputContainer, stream: VideoStream, threads: int, notes: Notes) -> None:
        self._container = container
        self._stream = stream
        self._notes = notes
        self.codec: str = stream.codec_context.name
        self.codec_standard: str = stream.codec_context.codec.canonical_name
        self.codec_header: bytes = stream.codec_context.extradata or b""
        self.frame_rate: Fraction | None = stream.average_rate or stream.guessed_rate
        self.announced_frames: int | None = stream.frames or None
        self.formats = frozenset(container.format.name.split(","))
        # MP4's index lists every frame; the counts of other containers (AVI's with empty frames) are only hints.
        self.counted = "mp4" in self.formats and self.announced_frames is not None
        self.time_base: Fraction = stream.time_base or Fraction(1, av.time_base)
        # Matroska and NUT announce the time at which they end, whenever they start.
        self._duration_is_end = bool(self.formats & {"matroska", "nut"})
        # A container's duration covers its longest stream: evidence about the video only if there is no other.
        own = stream.duration * self.time_base if stream.duration else None
        whole = Fraction(container.duration, av.time_base) if container.duration else None
        self._own_duration = own or (whole if len(container.streams) == 1 else None)
        self.duration_s: float | None = float(own or whole) if (own or whole) else None  # type: ignore[arg-type]
        context = stream.codec_context
        context.options = {"max_pixels": str(_MAX_PIXELS)}
        context.thread_count = threads
        context.thread_type = "NONE" if threads == 1 else "AUTO"

    def close(self) -> None:
        self._container.close()

    def give_up_at_errors(self) -> None:
        """Let errors that the decoder would paint over be notes instead. To be called before decoding."""
        context = self._stream.codec_context
        context.options = {**context.options, "err_detect": "explode"}

    def seek(self, pts: int) -> None:
        """Go to the last place at or before ``pts`` that the container lists. Raises av.FFmpegError."""
        self._container.seek(pts, stream=self._stream, backward=True)

    def frames(self, stop_at_damage: bool) -> Iterator[av.VideoFrame]:
        """The frames in presentation order. With ``stop_at_damage``, PassStoppedError before the first doubtful frame.

        What is wrong goes to the notes. A codec whose packets do not all show a picture (VP8) looks like damage to a
        threaded pass, which costs a second look but no frame.
        """
        packets = decoded = 0
        last: Fraction | None = None
        for packet in self.packets():
            for frame in self.decode(packet):
                if frame.is_corrupt:
                    self._notes.add("frames are partly invented by the decoder", f"pts {frame.pts}", damage=True)
                if stop_at_damage and self._notes.damaged:
                    raise PassStoppedError
                yield frame
                if frame.pts is not None and (last is None or frame.pts * self.time_base > last):
                    last = frame.pts * self.time_base
                decoded += 1
            if stop_at_damage and self._notes.damaged:
                raise PassStoppedError
            packets += packet is not None
        if stop_at_damage and decoded < packets:
            raise PassStoppedError
        self.note_early_end(packets, decoded, last)

    def packets(self) -> Iterator[av.Packet[VideoStream] | None]:
        """The stream's packets, read on past errors where the container allows it; then None once, to flush."""
        errors = 0
        while True:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:
                        errors = 0
                        if packet.is_corrupt:
                            self._notes.add("packets arrived incomplete", f"pts {packet.pts}", damage=True)
                        yield packet
                break
            except av.FFmpegError as error:
                errors += 1
                self._notes.add("reading failed", _reason(error), damage=True)
                if errors >= _MAX_ERRORS_IN_A_ROW:
                    break
        yield None

    def decode(self, packet: av.Packet[VideoStream] | None) -> list[av.VideoFrame]:
        """The frames that a packet completes; of None, those that were still held back."""
        try:
            return self._stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except (av.FFmpegError, ValueError) as error:
            where = "at the end" if packet is None else f"the one at pts {packet.pts}"
            self._notes.add("packets could not be decoded", f"{where}: {_reason(error)}", damage=True)
            return []

    def note_early_end(self, packets: int, decoded: int, last: Fraction | None) -> None:
        """Note what is missing after a pass over the whole file. last: the greatest time of a frame, in seconds."""
        if self.counted and self.announced_frames is not None and packets < self.announced_frames:
            found = f"{self.announced_frames} frames announced, {packets} found, {decoded} decoded"
            self._notes.add("file ends early", found, damage=True)
        elif not self.counted and self._own_duration and last is not None:
            start = Fraction(0) if self._duration_is_end else (self._stream.start_time or 0) * self.time_base
            missing = self._own_duration - (last - start)
            if missing > Fraction(1, 2) + 2 / (self.frame_rate or Fraction(30)):
                found = f"{float(self._own_duration):.2f} s announced, the last frame is at {float(last - start):.2f} s"
                self._notes.add("file ends early", found, damage=True)
