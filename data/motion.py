"""Optical flow between neighbouring frames, pooled to a small grid: what motion stems see instead of learning it.

Dense inverse search (Kroeger et al. 2016, OpenCV's DIS) costs under a millisecond a frame at 320x180, finds large turns
through its pyramid, and needs no training. One thread each, because its result depends on the number of stripes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CHANNELS = 7
"""Channels of the grid: flow x, flow y (pixels / 4), spread of the flow, change left after warping, change before
warping, signed change, texture."""


class MotionExtractor:
    """Grey frames in order -> one grid for each pair of neighbours. Holds buffers: use one for each thread."""

    def __init__(self, size: tuple[int, int], grid: tuple[int, int]) -> None:
        """``size`` (height, width) of the grey frames, a whole multiple of ``grid``."""
        self.size, self.grid = size, grid
        cv2.setNumThreads(1)
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)  # type: ignore[attr-defined]
        rows, columns = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
        self._columns, self._rows = columns, rows

    def _pool(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        pooled: NDArray[np.float32] = cv2.resize(image, self.grid[::-1], interpolation=cv2.INTER_AREA)
        return pooled

    def pair(self, now: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float16]:
        """uint8 (H, W) twice -> float16 (CHANNELS, *grid), all of order one."""
        flow = self._flow.calc(now, after, None)
        u, v = flow[..., 0], flow[..., 1]
        warped = cv2.remap(after, self._columns + u, self._rows + v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        change = after.astype(np.float32) - now
        left = cv2.absdiff(warped, now).astype(np.float32)
        mean_u, mean_v = self._pool(u), self._pool(v)
        spread = np.sqrt(np.maximum(self._pool(u * u + v * v) - mean_u**2 - mean_v**2, 0))
        texture = cv2.absdiff(now, cv2.blur(now, (5, 5))).astype(np.float32)
        grid: NDArray[np.float32] = np.stack(
            [
                mean_u / 4, mean_v / 4, spread / 4,
                self._pool(left) / 16, self._pool(np.abs(change)) / 16, self._pool(change) / 16, self._pool(texture) / 16,
            ]
        )  # fmt: skip
        return np.asarray(np.clip(grid, -64, 64), np.float16)
