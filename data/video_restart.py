"""From which packets a decoder may begin and still show what it shows coming from the start. No pixel is decoded here.

Only codecs whose frames can be made to forget all that came before are known: H.264 at an IDR picture, VP9 and AV1 at a
key frame that is shown. Open GOPs and intra refresh have recovery points too, but after those a decoder's lists of
earlier pictures differ, so they do not count. Nothing but :mod:`data.video_index` should import this.

Not HEVC, nor fields in H.264: where damage hides part of a picture, FFmpeg's decoder says nothing and leaves there
whatever was in that memory, which depends on what was decoded before. VP8 has a map that may outlive a key frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

_LASTING_SEI = {19: "film grain", 147: "another transfer curve"}
"""Messages that change pixels until they are taken back, wherever they stand."""

_X264_BUILD = re.compile(rb"x264 - core (\d+)")
_LOSSLESS_444 = 244  # H.264 profile
_PROFILES_WITH_FORMAT = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


class DoubtError(Exception):
    """This stream cannot be read from the middle with certainty; the message says what was found."""


class RestartPoints(Protocol):
    """Looks at all packets of a stream, in the order in which they are stored."""

    def at(self, packet: bytes) -> bool:
        """Whether decoding may begin here. Raises DoubtError if a packet does not show one frame as it should."""


def restart_points(codec: str, header: bytes) -> RestartPoints:
    """For a codec by FFmpeg's name and the container's codec header. Raises DoubtError for other codecs and formats."""
    if codec == "h264":
        return _H264(header)
    if codec == "vp9":
        return _VP9()
    if codec == "av1":
        return _AV1()
    raise DoubtError(f"{codec} video; only of h264, vp9 and av1 is it known that a key frame starts afresh")


class _H264:
    """H.264 as MP4 and Matroska store it: units with their length in front, the decoding parameters in a header."""

    def __init__(self, header: bytes) -> None:
        if len(header) < 10 or header[0] != 1:
            raise DoubtError("h264 without the header that MP4 and Matroska keep for it")
        if header[5] & 31 != 1:
            raise DoubtError("h264 with several sets of sequence parameters")
        self._header = header
        self._length_bytes = (header[4] & 3) + 1
        self._extra: set[bytes] | None = None  # parameters that the first packet holds beyond the header's
        self._number_bits = _frame_number_bits(header[8 : 8 + int.from_bytes(header[6:8])])
        self._number = 0  # of the last picture that others may refer to

    def at(self, packet: bytes) -> bool:
        slices: list[bytes] = []
        extra: set[bytes] = set()
        for unit in self._units(packet):
            kind = unit[0] & 31
            if 1 <= kind <= 5:
                slices.append(unit)
            elif kind in (7, 8, 13, 15):  # sequence and picture parameters
                if len(unit).to_bytes(2) + unit not in self._header:  # where it stands with its length
                    extra.add(unit)
                if kind == 7 and _frame_number_bits(unit) != self._number_bits:
                    raise DoubtError("decoding parameters other than the header's")
            elif kind == 6:
                self._look_at_messages(unit)
        if self._extra is None:
            self._extra = extra
        elif extra - self._extra:
            raise DoubtError("decoding parameters change on the way")
        return self._follow(slices) and extra == self._extra

    def _follow(self, slices: list[bytes]) -> bool:
        """Whether the slices are an IDR picture's. Their frame number must be the one after the last reference's:
        into a gap the decoder puts pictures that it made up, partly from memory it never wrote."""
        kinds = {unit[0] & 31 for unit in slices}
        if kinds not in ({1}, {5}):
            raise DoubtError(f"a packet whose slices are of kinds {sorted(kinds)}, not one whole picture")
        expected = 0 if kinds == {5} else (self._number + 1) % (1 << self._number_bits)
        for unit in slices:
            bits = _Bits(_unescaped(unit[1:20]))
            for _ in range(3):  # its first block, type and picture parameters
                bits.number()
            number = bits.take(self._number_bits)
            if number != expected:
                raise DoubtError(f"a gap in the count of pictures: expected {expected}, found {number}")
        if any(unit[0] >> 5 & 3 for unit in slices):
            self._number = expected
        return kinds == {5}

    def _units(self, packet: bytes) -> Iterator[bytes]:
        at, size = 0, self._length_bytes
        while at < len(packet):
            end = at + size + int.from_bytes(packet[at : at + size])
            if end > len(packet) or end <= at + size:
                raise DoubtError("a packet that is not a whole number of units, which is how damage looks")
            yield packet[at + size : end]
            at = end

    def _look_at_messages(self, unit: bytes) -> None:
        build = _X264_BUILD.search(unit)
        if build and int(build[1]) < (151 if self._header[1] == _LOSSLESS_444 else 34):
            raise DoubtError(f"made by x264 build {int(build[1])}, for whose faults decoders must see its first frame")
        for kind in _message_kinds(_unescaped(unit[1:])):
            if kind in _LASTING_SEI:
                raise DoubtError(f"messages about {_LASTING_SEI[kind]}, which hold until they are taken back")


def _unescaped(unit: bytes) -> bytes:
    return unit.replace(b"\0\0\3", b"\0\0")


def _frame_number_bits(parameters: bytes) -> int:
    """How many bits a frame's number has, from an H.264 sequence parameter set. Raises DoubtError unless of frames."""
    bits = _Bits(_unescaped(parameters)[4:])
    bits.number()  # its own number
    if parameters[1:2] and parameters[1] in _PROFILES_WITH_FORMAT:
        if bits.number() == 3 and bits.take(1):
            raise DoubtError("h264 with its three colours coded apart")
        bits.number()  # depths of light and of colour
        bits.number()
        bits.take(1)
        if bits.take(1):
            raise DoubtError("h264 with scaling matrices of its own")
    number_bits = bits.number() + 4
    order = bits.number()
    if order == 0:
        bits.number()
    elif order == 1:
        bits.take(1)
        bits.number()
        bits.number()
        for _ in range(bits.number()):
            bits.number()
    bits.number()  # references
    bits.take(1)
    bits.number()  # width, height
    bits.number()
    if not bits.take(1):
        raise DoubtError("h264 that may be coded as fields (interlaced)")
    return number_bits


class _Bits:
    """Reads numbers of some bits, and Exp-Golomb coded ones."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, count: int) -> int:
        taken = self._bits[self._at : self._at + count]
        if len(taken) < count:
            raise DoubtError("h264 whose headers are cut short, which is how damage looks")
        self._at += count
        return int(taken, 2) if count else 0

    def number(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _message_kinds(messages: bytes) -> Iterator[int]:
    """The kinds of the supplemental messages (SEI) in one unit: for each, kind and size in steps of 255, then bytes."""
    at = 0
    while at + 2 < len(messages):
        kind, at = _by_255(messages, at)
        size, at = _by_255(messages, at)
        yield kind
        at += size


def _by_255(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while at < len(data) and data[at] == 255:
        value, at = value + 255, at + 1
    return value + (data[at] if at < len(data) else 0), at + 1


class _VP9:
    """A packet holds one shown frame, and perhaps hidden ones around it (a superframe)."""

    def at(self, packet: bytes) -> bool:
        shown, key = 0, False
        for index, frame in enumerate(self._frames(packet)):
            if not frame or frame[0] >> 6 != 2:
                raise DoubtError("a packet that is no VP9 frame, which is how damage looks")
            bits = int.from_bytes(frame[:2]) if len(frame) > 1 else frame[0] << 8
            bits = bits << (5 if bits >> 12 & 3 == 3 else 4) & 0xFFFF  # profile 3 has one more bit in its header
            again, inter, visible = bits >> 15, bits >> 14 & 1, bits >> 13 & 1
            shown += again or visible
            key |= index == 0 and not again and not inter and bool(visible)
        if shown != 1:
            raise DoubtError(f"packets that show {shown} frames")
        return key

    def _frames(self, packet: bytes) -> Iterator[bytes]:
        marker = packet[-1]
        count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
        start = len(packet) - count * width - 2
        if marker >> 5 != 6 or start < 0 or packet[start] != marker:
            yield packet
            return
        at = 0
        for place in range(start + 1, len(packet) - 1, width):
            size = int.from_bytes(packet[place : place + width], "little")
            if at + size > start:
                raise DoubtError("a superframe larger than its packet, which is how damage looks")
            if size:
                yield packet[at : at + size]
            at += size


class _AV1:
    """A packet is a temporal unit: some open bitstream units (OBU) that show one frame."""

    def __init__(self) -> None:
        self._sequence: bytes | None = None

    def at(self, packet: bytes) -> bool:
        shown, frames, key = 0, 0, False
        described = False
        for kind, content in self._units(packet):
            if kind == 1:  # sequence header
                if self._sequence not in (None, content):
                    raise DoubtError("decoding parameters change on the way")
                self._sequence, described = content, True
            elif kind in (3, 6) and content:  # frame header, frame
                again, visible = content[0] >> 7, content[0] >> 4 & 1
                shown += again or visible
                key |= frames == 0 and not again and not content[0] >> 5 & 3 and bool(visible)
                frames += 1
        if shown != 1:
            raise DoubtError(f"packets that show {shown} frames")
        return key and described

    def _units(self, packet: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at < len(packet):
            head = packet[at]
            at += 2 if head & 4 else 1  # an extension byte
            size = len(packet) - at
            if head & 2:
                size = 0
                for shift in range(0, 56, 7):
                    byte = packet[at] if at < len(packet) else 0
                    size |= (byte & 127) << shift
                    at += 1
                    if byte < 128:
                        break
            if head & 0x80 or at + size > len(packet):
                raise DoubtError("a packet that is not a whole number of units, which is how damage looks")
            yield head >> 3 & 15, packet[at : at + size]
            at += size
