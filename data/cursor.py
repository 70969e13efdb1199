"""Drawing the mouse cursor into frames: recordings hold its position, but not its picture.

VPT draws it where a GUI is open, with a picture of Minecraft's. That picture is not ours to give away; the default is an
arrow of our own, and whoever has the published one hands it over (:meth:`Cursor.read`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW_HEIGHT = 720
"""Recorded positions are pixels of a window of this height, whatever the video's."""

SIDE = 16
"""Pixels of a cursor; of a larger picture the top left corner is taken, as published."""

_ARROW = (
    "#",
    "##",
    "#.#",
    "#.#",
    "#..#",
    "#...#",
    "#...#",
    "#....#",
    "#.....#",
    "#.....#",
    "#......#",
    "#...####",
    "#.#..#",
    "##.#..#",
    "#  #..#",
    "    ##",
)
"""Our cursor: # black, . white, the rest clear."""


def _arrow() -> NDArray[np.uint8]:
    rows = np.array([list(line.ljust(SIDE)) for line in _ARROW])
    rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
    rgba[rows == "."] = 255
    rgba[..., 3] = np.where(rows == " ", 0, 255)
    return rgba


@dataclass(frozen=True, eq=False)
class Cursor:
    """A picture to lay over frames, its tip at the top left. rgba: uint8 (height, width, 4), cut to 16x16."""

    rgba: NDArray[np.uint8] = field(default_factory=_arrow)

    def __post_init__(self) -> None:
        if self.rgba.dtype != np.uint8 or self.rgba.ndim != 3 or self.rgba.shape[2] != 4:
            raise ValueError(
                f"the cursor is {self.rgba.dtype} of shape {self.rgba.shape}; expected uint8 (height, width, 4), RGBA"
            )
        object.__setattr__(self, "rgba", np.ascontiguousarray(self.rgba[:SIDE, :SIDE]))

    @classmethod
    def read(cls, path: Path | str) -> Cursor:
        """The cursor of an image file with transparency. Raises ValueError when the file is none."""
        try:
            coded = np.frombuffer(Path(path).read_bytes(), np.uint8)
        except OSError as error:
            raise ValueError(f"{path}: cannot be read as a cursor image: {error.strerror}; check the path") from error
        image: Any = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED) if coded.size else None
        if image is None or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 4:
            found = "no image" if image is None else f"{image.dtype} of shape {image.shape}"
            raise ValueError(f"{path}: expected an image of 8 bits with transparency (RGBA), found {found}; convert it")
        return cls(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8))

    def at(self, x: float, y: float, frame_height: int, wraps: bool = False) -> tuple[int, int]:
        """Window coordinates to the pixel of a frame, x and y.

        ``wraps`` is the published way, which rounds towards 0 and so moves what is left of the frame by a pixel.
        """
        scale = frame_height / WINDOW_HEIGHT
        return (int(x * scale), int(y * scale)) if wraps else (math.floor(x * scale), math.floor(y * scale))

    def draw(self, frame: NDArray[np.uint8], x: int, y: int, wraps: bool = False) -> None:
        """Lay the cursor over a frame, uint8 RGB (height, width, 3), in place, its tip at pixel (x, y).

        It is cut off at the frame's edges. ``wraps`` is the published way at the left and top: positions below 0 count
        from the other side, and those that leave nothing whole to draw on there raise ValueError.
        """
        # The published arithmetic: float64, and fractions cut off.
        height = max(0, min(frame.shape[0] - y, self.rgba.shape[0]))
        width = max(0, min(frame.shape[1] - x, self.rgba.shape[1]))
        top, left = (0, 0) if wraps else (max(0, -y), max(0, -x))
        if top >= height or left >= width:
            return
        picture = self.rgba[top:height, left:width]
        under = frame[y + top : y + height, x + left : x + width]
        if under.shape[:2] != picture.shape[:2]:
            raise ValueError(
                f"a cursor of {width}x{height} does not fit at x {x}, y {y}: outside the frame, "
                "which ends a recording as published; read it with the mended rules"
            )
        alpha = picture[..., 3:] / 255.0
        under[:] = (under * (1 - alpha) + picture[..., :3] * alpha).astype(np.uint8)
