"""From video frames to what models read: scaled images and, for motion stems, grids of optical flow.

Each frame is scaled and its flow computed once, here, for training, labelling and playing alike, so that they cannot differ:
a video's in threads (OpenCV releases the interpreter's lock), a game's one by one as they come.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from data.motion import CHANNELS, MotionExtractor

Resize = Literal["area", "bilinear"]
_INTERPOLATION = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR}


@dataclass(frozen=True)
class InputShape:
    """How a model wants its frames. Sizes are (height, width).

    image_size: to which frames are scaled; resize: how, ``bilinear`` is VPT's (cv2.INTER_LINEAR), ``area`` does not alias;
    flow_size, flow_grid: at which size flow is computed and to how many cells it is pooled, None: without flow; rate: frames a
    second.
    """

    image_size: tuple[int, int]
    resize: Resize
    rate: int
    flow_size: tuple[int, int] | None = None
    flow_grid: tuple[int, int] = (0, 0)
    fovea: bool = False
    """The middle of the picture, at the size at which flow is computed, stands beside the whole: three channels more."""

    def __str__(self) -> str:
        """As it was before there were foveas, where there is none: caches are named by it."""
        return repr(self).replace(", fovea=False", "")

    def __post_init__(self) -> None:
        (height, width), (rows, columns) = self.flow_size or (0, 0), self.flow_grid
        if self.flow_size is not None and (height % max(rows, 1) or width % max(columns, 1)):
            raise ValueError(f"flow_size {self.flow_size} must be a whole multiple of flow_grid {self.flow_grid}")
        if self.fovea and (height < self.image_size[0] or width < self.image_size[1]):
            raise ValueError(
                f"a fovea of {self.image_size} is cut from pictures of flow_size, {self.flow_size}, which is less"
            )

    @property
    def channels(self) -> int:
        """Of an image."""
        return 6 if self.fovea else 3

    @property
    def motion_shape(self) -> tuple[int, int, int]:
        """Of a frame's motion."""
        return (CHANNELS, *self.flow_grid) if self.flow_size is not None else (0, 0, 0)


@dataclass(frozen=True)
class FrameInputs:
    """What a model reads of T consecutive frames.

    images: uint8 (T, H, W, 3) RGB; with a fovea (T, H, W, 6), the whole and its middle.
    motion: float16 (T, C, h, w), the flow from each frame to the next; (T, 0, 0, 0) for models that need none.
    """

    images: NDArray[np.uint8]
    motion: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, span: slice) -> FrameInputs:
        return FrameInputs(self.images[span], self.motion[span])

    def views(self, rows: NDArray[np.int64], first: NDArray[np.bool_]) -> Views:
        """Some of the frames, none of which looks ahead. rows: int64 (T,), rising; first: bool (T,), where there is no frame
        before."""
        images = np.asarray(self.images[rows])
        if not self.motion.shape[1]:
            return Views(images, np.asarray(self.motion[rows]))
        alone = first | (rows == 0)
        before = np.where(alone, rows, rows - 1)
        motion = np.asarray(self.motion[before])
        motion[alone] = 0
        return Views(np.concatenate([images, self.images[before]], -1), motion)

    @classmethod
    def join(cls, parts: list[FrameInputs]) -> FrameInputs:
        return cls(np.concatenate([p.images for p in parts]), np.concatenate([p.motion for p in parts]))

    @classmethod
    def blank(cls, frames: int, shape: InputShape) -> FrameInputs:
        """Black frames without motion: the padding at the ends of a video (VPT's zero padding in time)."""
        images = np.zeros((frames, *shape.image_size, shape.channels), np.uint8)
        return cls(images, np.zeros((frames, *shape.motion_shape), np.float16))


_Small = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


def _scaled(rgb: NDArray[np.uint8], shape: InputShape) -> _Small:
    """The image, and the grey picture that flow is computed from."""
    size, interpolation = shape.image_size[::-1], _INTERPOLATION[shape.resize]
    if shape.flow_size is None:
        return np.asarray(cv2.resize(rgb, size, interpolation=interpolation), np.uint8), None
    # The flow's size first: a smaller image from it is a good deal cheaper, and the same for every source size.
    middle = cv2.resize(rgb, shape.flow_size[::-1], interpolation=interpolation)
    grey = np.asarray(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY), np.uint8)
    image = np.asarray(cv2.resize(middle, size, interpolation=interpolation), np.uint8)
    if shape.fovea:
        top, left = ((whole - part) // 2 for whole, part in zip(middle.shape[:2], shape.image_size, strict=True))
        image = np.concatenate([image, middle[top : top + size[1], left : left + size[0]]], -1)
    return image, grey


def _extractor(shape: InputShape) -> MotionExtractor | None:
    return None if shape.flow_size is None else MotionExtractor(shape.flow_size, shape.flow_grid)


class InputMaker:
    """Turns a video's frames of any size into :class:`FrameInputs`, block by block, in bounded memory."""

    def __init__(self, shape: InputShape, threads: int = 2, block: int = 64) -> None:
        self.shape, self.threads, self.block = shape, max(threads, 1), block
        self._extractors = [_extractor(shape) for _ in range(self.threads)]

    def _scale(self, rgb: NDArray[np.uint8]) -> _Small:
        return _scaled(rgb, self.shape)

    def _flows(self, worker: int, greys: list[Any]) -> list[NDArray[np.float16]]:
        extractor = self._extractors[worker]
        assert extractor is not None
        return [extractor.pair(now, after) for now, after in itertools.pairwise(greys)]

    def stream(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FrameInputs]:
        """RGB frames (H, W, 3) in order -> blocks of ``block`` frames (the last one shorter)."""
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: list[_Small] = []
            fresh: list[NDArray[np.uint8]] = []
            for frame in frames:
                fresh.append(frame)
                if len(waiting) + len(fresh) > self.block:
                    waiting.extend(pool.map(self._scale, fresh))
                    fresh = []
                    yield self._emit(pool, waiting, self.block)
                    waiting = waiting[self.block :]
            waiting.extend(pool.map(self._scale, fresh))
            if waiting:
                yield self._emit(pool, waiting, len(waiting))

    def _emit(self, pool: ThreadPoolExecutor, small: list[_Small], count: int) -> FrameInputs:
        images = np.stack([image for image, _ in small[:count]])
        if self.shape.flow_size is None:
            return FrameInputs(images, np.zeros((count, *self.shape.motion_shape), np.float16))
        greys = [grey for _, grey in small[: count + 1]]
        pairs = len(greys) - 1
        cuts = np.linspace(0, pairs, self.threads + 1).astype(int)
        jobs = [pool.submit(self._flows, w, greys[cuts[w] : cuts[w + 1] + 1]) for w in range(self.threads)]
        motion = [grid for job in jobs for grid in job.result()]
        if pairs < count:
            motion.append(np.zeros(self.shape.motion_shape, np.float16))  # nothing follows
        return FrameInputs(images, np.stack(motion))


@dataclass(frozen=True)
class Views:
    """What a policy reads of T frames, none of which looks ahead.

    images: uint8 (T, H, W, C) of :class:`FrameInputs`; with motion (T, H, W, 2 * C), the frame and the one before it.
    motion: float16 (T, C, h, w), the flow from the frame before; (T, 0, 0, 0) for policies that need none. Where an episode
    begins there is no frame before: the frame itself stands in for it, without motion.
    """

    images: NDArray[np.uint8]
    motion: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.images)

    def still(self) -> Views:
        """Of views with motion: the same frames as if nothing had moved, each standing in for the one before it."""
        alone = self.images[..., : self.images.shape[-1] // 2]
        return Views(np.concatenate([alone, alone], -1), np.zeros_like(self.motion))


class Eye:
    """Sees a game's frames one by one: :class:`Views` of one frame each, the same numbers as :meth:`FrameInputs.views`."""

    def __init__(self, shape: InputShape) -> None:
        self.shape = shape
        self._extractor = _extractor(shape)
        self._before: _Small | None = None

    def reset(self) -> None:
        """An episode begins: there is no frame before the next one."""
        self._before = None

    def pass_by(self, rgb: NDArray[np.uint8]) -> None:
        """See a frame of which nothing is wanted but that the next one can be compared with it."""
        self._before = _scaled(np.ascontiguousarray(rgb), self.shape)

    def look(self, rgb: NDArray[np.uint8]) -> Views:
        """rgb: uint8 (height, width, 3) of any size. Raises ValueError for anything else."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"a frame is {rgb.dtype} {rgb.shape}; expected uint8 (height, width, 3), RGB")
        image, grey = _scaled(np.ascontiguousarray(rgb), self.shape)
        still = np.zeros((1, *self.shape.motion_shape), np.float16)
        if grey is None:
            return Views(image[None], still)
        before, self._before = self._before, (image, grey)
        if before is None or before[1] is None or self._extractor is None:
            return Views(np.concatenate([image, image], -1)[None], still)
        motion = self._extractor.pair(before[1], grey)[None]
        return Views(np.concatenate([image, before[0]], -1)[None], motion)
