"""What models read of videos, decoded once: raw arrays on disk, memory-mapped.

Decoding, scaling and optical flow are done the first time a video is used and kept under a name made from the file's content
and the shape asked for, so that a changed file or setting is never mistaken for an old one, and models that want the same shape
share one cache, whichever they are. Actions and labels are small and read anew each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.files import folder_once, sha256_file
from data.frame_inputs import FrameInputs, InputMaker, InputShape
from data.resample import at_rate
from data.video import VideoReader

VERSION = 2
"""Raise when the inputs of a frame are computed in another way."""

Frames = Iterator[NDArray[np.uint8]]


def cached_inputs(
    video: Path,
    shape: InputShape,
    cache: Path,
    draw: Callable[[Frames], Frames] | None = None,
    drawn: str = "",
) -> FrameInputs:
    """A video's inputs at ``shape.rate`` frames a second, memory-mapped; made now if ``cache`` has them not.

    draw: changes frames before they are scaled, such as drawing the cursor in; drawn: tells such changes apart.
    Raises ValueError if no frame can be decoded.
    """
    folder = folder_once(_place(video, shape, cache, drawn), lambda fresh: _write(video, shape, draw, fresh))
    return _read(folder, shape)


def kept_inputs(video: Path, shape: InputShape, cache: Path) -> FrameInputs | None:
    """What :func:`cached_inputs` has made of the video before, None if it has not."""
    folder = _place(video, shape, cache, "")
    return _read(folder, shape) if folder.is_dir() else None


def _place(video: Path, shape: InputShape, cache: Path, drawn: str) -> Path:
    key = f"{sha256_file(video)} {drawn} inputs v{VERSION} {shape}"
    return cache / hashlib.sha256(key.encode()).hexdigest()[:24]


def _read(folder: Path, shape: InputShape) -> FrameInputs:
    frames = json.loads((folder / "about.json").read_text(encoding="utf-8"))["frames"]
    images = np.memmap(folder / "images.bin", np.uint8, "r", shape=(frames, *shape.image_size, shape.channels))
    if shape.flow_size is None:
        return FrameInputs(images, np.zeros((frames, *shape.motion_shape), np.float16))
    motion = np.memmap(folder / "motion.bin", np.float16, "r", shape=(frames, *shape.motion_shape))
    return FrameInputs(images, motion)


def _write(video: Path, shape: InputShape, draw: Callable[[Frames], Frames] | None, folder: Path) -> None:
    count = 0
    with (
        VideoReader(video) as reader,
        (folder / "images.bin").open("wb") as images,
        (folder / "motion.bin").open("wb") as motion,
    ):
        frames: Frames = (tick.rgb for tick in at_rate(reader, shape.rate))
        for block in InputMaker(shape).stream(frames if draw is None else draw(frames)):
            images.write(block.images.tobytes())
            motion.write(block.motion.tobytes())
            count += len(block)
        problems = list(reader.problems)
    if not count:
        reasons = "; ".join(problems) or "no reason given"
        raise ValueError(f"{video}: no frame could be decoded ({reasons}); get the file again")
    about = {"video": str(video), "frames": count, "problems": problems, "shape": str(shape)}
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
