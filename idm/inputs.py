"""From video frames to what the model reads: scaled images and, for the motion stem, flow grids.

Each frame is scaled and its flow computed once, here, in threads (OpenCV releases the interpreter's lock), for training
and labelling alike, so that the two cannot differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from idm.config import IDMConfig
from idm.motion import CHANNELS, MotionExtractor


@dataclass(frozen=True)
class FrameInputs:
    """What the model reads of T consecutive frames.

    images: uint8 (T, H, W, 3) RGB.
    motion: float16 (T, C, h, w), the flow from each frame to the next; (T, 0, 0, 0) for stems that need none.
    """

    images: NDArray[np.uint8]
    motion: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, span: slice) -> FrameInputs:
        return FrameInputs(self.images[span], self.motion[span])

    @classmethod
    def join(cls, parts: list[FrameInputs]) -> FrameInputs:
        return cls(np.concatenate([p.images for p in parts]), np.concatenate([p.motion for p in parts]))

    @classmethod
    def blank(cls, frames: int, config: IDMConfig) -> FrameInputs:
        """Black frames without motion: the padding at the ends of a video (VPT's zero padding in time)."""
        height, width = config.image_size
        motion = (frames, CHANNELS, *config.flow_grid) if config.stem == "motion" else (frames, 0, 0, 0)
        return cls(np.zeros((frames, height, width, 3), np.uint8), np.zeros(motion, np.float16))


_Small = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


class InputMaker:
    """Turns frames of any size into :class:`FrameInputs`, block by block, in bounded memory."""

    def __init__(self, config: IDMConfig, threads: int = 2, block: int = 64) -> None:
        self.config, self.threads, self.block = config, max(threads, 1), block
        self._extractors = [MotionExtractor(config.flow_size, config.flow_grid) for _ in range(self.threads)]
        self._interpolation = cv2.INTER_AREA if config.resize == "area" else cv2.INTER_LINEAR

    def _scale(self, rgb: NDArray[np.uint8]) -> _Small:
        height, width = self.config.image_size
        if self.config.stem != "motion":
            return cv2.resize(rgb, (width, height), interpolation=self._interpolation), None
        # The flow's size first: a smaller image from it is a good deal cheaper, and the same for every source size.
        middle = cv2.resize(rgb, self.config.flow_size[::-1], interpolation=self._interpolation)
        grey = cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY)
        return cv2.resize(middle, (width, height), interpolation=self._interpolation), grey

    def _flows(self, worker: int, greys: list[Any]) -> list[NDArray[np.float16]]:
        extractor = self._extractors[worker]
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
        if self.config.stem != "motion":
            return FrameInputs(images, np.zeros((count, 0, 0, 0), np.float16))
        greys = [grey for _, grey in small[: count + 1]]
        pairs = len(greys) - 1
        cuts = np.linspace(0, pairs, self.threads + 1).astype(int)
        jobs = [pool.submit(self._flows, w, greys[cuts[w] : cuts[w + 1] + 1]) for w in range(self.threads)]
        motion = [grid for job in jobs for grid in job.result()]
        if pairs < count:
            motion.append(self._extractors[0].still())
        return FrameInputs(images, np.stack(motion))
