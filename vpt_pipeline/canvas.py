"""Smooth drawing with cv2: design units, round corners, text by its middle.

Everything is drawn at twice the size and averaged down, so that lines and letters are smooth at any scale.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

_OVERSAMPLE = 2


def plain(width: int, height: int, colour: Colour) -> Picture:
    """A picture of one colour, filled row by row: pixel by pixel it takes forty times as long."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.full((width, 3), colour, np.uint8)
    return picture


class Canvas:
    """A strip of ``width`` x ``height`` design units, to be ``pixels`` wide; ``origin`` shifts what is drawn next."""

    _SHIFT = 4  # cv2 takes points in sixteenths of a pixel

    def __init__(self, width: float, height: float, pixels: int, background: Colour) -> None:
        self._size = (pixels, round(height * pixels / width / 2) * 2)
        self.unit = pixels / width * _OVERSAMPLE
        self.origin = (0.0, 0.0)
        self._fine = self.unit * 2**self._SHIFT
        self.image = plain(round(width * self.unit), round(height * self.unit), background)

    def finished(self) -> Picture:
        """uint8 (h, pixels, 3), h even."""
        return np.asarray(cv2.resize(self.image, self._size, interpolation=cv2.INTER_AREA), np.uint8)

    def _at(self, point: tuple[float, float]) -> tuple[int, int]:
        (x, y), (left, top) = point, self.origin
        return round((x + left) * self._fine), round((y + top) * self._fine)

    def _pixels(self, thickness: float) -> int:
        return max(1, round(thickness * self.unit))

    def line(self, a: tuple[float, float], b: tuple[float, float], colour: Colour, thickness: float) -> None:
        cv2.line(self.image, self._at(a), self._at(b), colour, self._pixels(thickness), cv2.LINE_AA, self._SHIFT)

    def circle(self, centre: tuple[float, float], radius: float, colour: Colour, thickness: float | None) -> None:
        """A ring, or a disc where the thickness is None."""
        stroke = cv2.FILLED if thickness is None else self._pixels(thickness)
        size = round(radius * self._fine)
        cv2.circle(self.image, self._at(centre), size, colour, stroke, cv2.LINE_AA, self._SHIFT)

    def arrow(self, tail: tuple[float, float], tip: tuple[float, float], colour: Colour) -> None:
        along = np.subtract(tip, tail)
        length = float(np.hypot(*along))
        along, head = along / max(length, 1e-9), min(8.0, 0.55 * length)
        across, neck = np.array((-along[1], along[0])), np.subtract(tip, along * head)
        self.line(tail, (float(neck[0]), float(neck[1])), colour, 2.4)
        corners = [tip, neck + across * head * 0.55, neck - across * head * 0.55]
        points = np.array([self._at((float(c[0]), float(c[1]))) for c in corners], np.int32)
        cv2.fillConvexPoly(self.image, points, colour, cv2.LINE_AA, self._SHIFT)

    def box(self, x: float, y: float, width: float, height: float, fill: Colour, *, radius: float = 0.0,
            edge: Colour | None = None, thickness: float = 1.0) -> None:  # fmt: skip
        """A rectangle with round corners: the edge's colour first, then the inside upon it."""
        layers = [(0.0, fill)] if edge is None else [(0.0, edge), (thickness, fill)]
        for inset, colour in layers:
            points = _round_corners(x + inset, y + inset, width - 2 * inset, height - 2 * inset, max(radius - inset, 0))
            cv2.fillConvexPoly(self.image, np.array([self._at(p) for p in points], np.int32), colour, cv2.LINE_AA,
                               self._SHIFT)  # fmt: skip

    def text(self, words: str, x: float, y: float, size: float, colour: Colour, *, align: float = 0.0,
             bold: bool = False) -> float:  # fmt: skip
        """Words centred on the height y; ``align`` 0 begins at x, 1 ends there. Returns their width.

        cv2's stroke letters have no degree sign, so it is drawn as a small circle.
        """
        degrees = words.endswith("°")
        words = words.removesuffix("°")
        scale, weight = size * self.unit / 30, self._pixels(size * (0.13 if bold else 0.1))
        (wide, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
        width = float(wide / self.unit + (size * 0.38 if degrees else 0))
        left = x - align * width
        at = (round((left + self.origin[0]) * self.unit), round((y + self.origin[1]) * self.unit + 10.5 * scale))
        cv2.putText(self.image, words, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, weight, cv2.LINE_AA)
        if degrees:
            self.circle((left + width - size * 0.16, y - size * 0.25), size * 0.14, colour, size * 0.07)
        return width

    def chip(self, words: str, right: float, y: float, fill: Colour, ink: Colour) -> float:
        """A small label that ends at ``right``. Returns its width."""
        width = len(words) * 5.2 + 10
        self.box(right - width, y - 7, width, 14, fill, radius=7)
        self.text(words, right - width / 2, y, 7.5, ink, align=0.5)
        return width


def _round_corners(x: float, y: float, width: float, height: float, radius: float) -> list[tuple[float, float]]:
    radius = min(radius, width / 2, height / 2)
    if radius <= 0:
        return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    centres = ((x + width - radius, y + height - radius), (x + radius, y + height - radius), (x + radius, y + radius),
               (x + width - radius, y + radius))  # fmt: skip
    return [(cx + radius * a, cy + radius * b) for (cx, cy), turn in zip(centres, _TURNS, strict=True) for a, b in turn]


def _turn(quarter: int) -> list[tuple[float, float]]:
    angles = (quarter + np.linspace(0, 1, 7)) * np.pi / 2
    return list(zip(np.cos(angles).tolist(), np.sin(angles).tolist(), strict=True))


_TURNS = [_turn(quarter) for quarter in range(4)]
