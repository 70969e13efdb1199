"""Decoding speed of each backend of data/readers.py: one 640x360 H.264 file with B-frames, scaled to 128x128.

    python -m benchmarks.decode_speed --quick

All backends read the same file in turn, round after round, so that a busy machine slows them alike; the best round of
each counts. Ratios against PyAV are what to compare between machines. Two ways of scaling: while decoding (``size``), and
after it with OpenCV's INTER_LINEAR, which VPT's published weights want. Each backend decodes on one thread of its own
choice of place: PyAV and decord here, ffmpeg in another process, beside what this one does.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import tyro

from data.readers import READERS, Size, open_reader

SOURCE: Size = (640, 360)
SCALED: Size = (128, 128)


@dataclass(frozen=True)
class Args:
    """Settings."""

    seconds: float = 60.0
    """Length of the made-up video, at 30 frames/s."""
    rounds: int = 5
    """How often each backend reads it; the best counts."""
    video: Path | None = None
    """A video to read instead of a made-up one."""
    quick: bool = False
    """Eight seconds, two rounds."""


def made_up(path: Path, seconds: float) -> None:
    """Drifting blocks with a little noise, 30 frames/s, three B-frames between references, a key frame in 250."""
    rng = np.random.default_rng(0)
    world = rng.integers(0, 256, (45, 160, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    world = np.clip(world + rng.normal(0, 4, world.shape), 0, 255).astype(np.uint8)
    width, height = SOURCE
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "3", "g": "250", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, 30)
        for number in range(round(seconds * 30)):
            x, y = number * 7 % 1900, number * 3 % 350
            rgb = np.ascontiguousarray(world[y : y + height, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))


def frames_per_second(path: Path, backend: str, while_decoding: bool) -> float:
    """Frames read and scaled a second, opening included."""
    begun = time.perf_counter()
    with open_reader(path, backend, SCALED if while_decoding else None) as reader:
        for frame in reader:
            if not while_decoding:
                cv2.resize(frame.rgb, SCALED, interpolation=cv2.INTER_LINEAR)
        if reader.problems:
            raise ValueError(f"{path}: {backend} found {reader.problems}; expected a sound file, so choose another")
        return reader.frames_read / (time.perf_counter() - begun)


def main(args: Args) -> None:
    """Print frames/s and the ratio to PyAV of every backend that is installed, for both ways of scaling."""
    cv2.setNumThreads(1)
    seconds, rounds = (8.0, 2) if args.quick else (args.seconds, args.rounds)
    with tempfile.TemporaryDirectory() as temporary:
        path = args.video or Path(temporary) / "made_up.mp4"
        if args.video is None:
            made_up(path, seconds)
        best: dict[tuple[str, bool], float] = {}
        absent: dict[str, str] = {}
        for _ in range(rounds):
            for backend in READERS:
                for while_decoding in (True, False):
                    try:
                        speed = frames_per_second(path, backend, while_decoding)
                    except ValueError as error:  # not installed
                        absent[backend] = str(error)
                        continue
                    best[backend, while_decoding] = max(speed, best.get((backend, while_decoding), 0.0))
    for (backend, while_decoding), speed in best.items():
        way = "scaled while decoding" if while_decoding else "scaled with OpenCV   "
        print(f"{backend:7} {way} {speed:6.0f} frames/s, {speed / best['pyav', while_decoding]:.2f} of PyAV")
    for backend, reason in absent.items():
        print(f"{backend:7} left out: {reason}")


if __name__ == "__main__":
    main(tyro.cli(Args))
