"""Makes small videos for the tests, with PyAV: every frame shows its own number, so that order can be read back."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from data.video import VideoFrame

SIZE = (64, 48)


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): eight vertical bars, the bits of ``number``, over a band of colour."""
    width, height = size
    rgb = np.zeros((height, width, 3), np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            rgb[: height // 2, bit * width // 8 : (bit + 1) * width // 8] = 255
    rgb[height // 2 :] = (200, 60, 30)
    return rgb


def number_of(rgb: NDArray[np.uint8]) -> int:
    """The inverse of :func:`picture`, after any lossy codec."""
    height, width = rgb.shape[:2]
    middles = [int(rgb[height // 4, (2 * bit + 1) * width // 16, 1]) for bit in range(8)]
    return sum((value > 128) << bit for bit, value in enumerate(middles))


def make_video(
    path: Path,
    pts: Sequence[int],
    *,
    time_base: Fraction = Fraction(1, 600),
    codec: str = "libx264",
    size: tuple[int, int] = SIZE,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    noise: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Frames numbered from 0 at the given pts. noise: seed of extra texture (0 none), which makes the file larger."""
    generator = np.random.default_rng(noise)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"g": "10", **(options or {})})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = time_base
        stream.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for number, when in enumerate(pts):
            rgb = picture(number, size)
            if noise:
                rgb = np.where(rgb == 0, generator.integers(0, 64, rgb.shape, dtype=np.uint8), rgb)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = when, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames_at(pts: Sequence[int], time_base: Fraction) -> list[VideoFrame]:
    """Frames that were never in a file: only their times matter."""
    rgb = np.zeros((2, 2, 3), np.uint8)
    return [VideoFrame(index, when, time_base, rgb) for index, when in enumerate(pts)]
