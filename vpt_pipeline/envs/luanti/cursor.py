"""The mouse pointer. The game leaves it to the X server, so frames would not show it."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray


@functools.cache
def _arrow() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(grey levels, mask), both (14, 10): a white arrow with a black edge, its tip at the upper left."""
    rows, columns = np.mgrid[0:14, 0:10]
    head = (columns <= rows) & (rows < 10)
    tail = (rows >= 10) & (columns >= 2) & (columns <= 4)
    inside = ((columns > 0) & (columns < rows) & (rows < 9)) | ((rows >= 9) & (rows < 13) & (columns == 3))
    return np.where(inside, 255, 0).astype(np.uint8), head | tail


def draw_cursor(frame: NDArray[np.uint8], at: tuple[int, int]) -> None:
    """Draw the pointer into ``frame`` (H, W, 3), its tip at pixel ``at`` = (x, y)."""
    x, y = at
    grey, mask = _arrow()
    patch = frame[y : y + mask.shape[0], x : x + mask.shape[1]]
    height, width = patch.shape[:2]
    patch[mask[:height, :width]] = grey[:height, :width][mask[:height, :width], None]
