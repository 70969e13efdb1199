"""Draws what a frame's label says: keys, mouse, turn and confidence, on panels below the picture.

Positions are in design units: a panel is 320 x 150 of them, and two stand side by side below a picture 640 wide. A
wider picture scales the panels with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTON_INDEX, BUTTONS
from vpt_pipeline.canvas import Canvas, Colour, Picture

PANEL_WIDTH, PANEL_HEIGHT, STATUS_HEIGHT, LEAST_WIDTH = 320, 150, 20, 640

BACKGROUND, PLATE, EDGE = (20, 24, 29), (38, 44, 52), (66, 75, 86)
CHIP, CHIP_TEXT = (92, 70, 20), (255, 211, 105)
TEXT, DIM, LIT, DARK, WRONG = (226, 231, 236), (139, 149, 160), (86, 180, 233), (12, 22, 30), (255, 92, 71)

# Where each key stands: (button, label, x, y, width). W, A, S, D as under the hand; hotbar in a row.
_SIDE, _STEP = 26, 30
_KEYS: tuple[tuple[str, str, int, int, int], ...] = (
    ("drop", "Q", 10, 26, _SIDE), ("forward", "W", 10 + _STEP, 26, _SIDE), ("inventory", "E", 10 + 2 * _STEP, 26, _SIDE),
    ("left", "A", 10, 26 + _STEP, _SIDE), ("back", "S", 10 + _STEP, 26 + _STEP, _SIDE),
    ("right", "D", 10 + 2 * _STEP, 26 + _STEP, _SIDE),
    ("sneak", "shift", 10, 26 + 2 * _STEP, 41), ("sprint", "ctrl", 55, 26 + 2 * _STEP, 41),
    ("jump", "space", 10, 26 + 3 * _STEP, 86),
    *((f"hotbar.{n}", str(n), 112 + 22 * (n - 1), 26 + 3 * _STEP, 20) for n in range(1, 10)),
)  # fmt: skip
_MOUSE = (112, 28, 44, 72)  # x, y, width, height
_DIAL = (209, 66, 38)  # centre and radius
_COLUMN = 258  # where the figures and confidence bars begin
_RINGS = (1.0, 3.0, 10.0)  # degrees


@dataclass(frozen=True)
class Panel:
    """What one side says about one frame.

    probabilities: (20,), 0 or 1 for a recorded action. held: bool (20,). camera: degrees (pitch, yaw).
    confidence: of the keys and of the camera, or None. known: False where the record of this frame is broken.
    """

    title: str
    probabilities: NDArray[np.floating[Any]]
    held: NDArray[np.bool_]
    camera: tuple[float, float]
    confidence: tuple[float, float] | None = None
    flags: tuple[str, ...] = ()
    known: bool = True

    def disagreements(self, truth: Panel) -> tuple[str, ...]:
        """The buttons whose state differs, and "camera" where the turn is off by more than half a degree and a quarter."""
        if not (self.known and truth.known):
            return ()
        wrong = [name for name, a, b in zip(BUTTONS, self.held, truth.held, strict=True) if a != b]
        off = np.hypot(self.camera[0] - truth.camera[0], self.camera[1] - truth.camera[1])
        return (*wrong, "camera") if off > 0.5 + 0.25 * np.hypot(*truth.camera) else tuple(wrong)


@dataclass(frozen=True)
class History:
    """The seconds around a frame: probabilities (N, 20) and which of the N is now; ``keys`` are the rows to draw."""

    probabilities: NDArray[np.floating[Any]]
    now: int
    keys: tuple[str, ...]


def compose(picture: Picture, panels: tuple[Panel, ...], status: str, history: History | None = None) -> Picture:
    """The picture (H, W, 3 RGB) with a status line and one or two panels below; a second panel is the truth.

    The place of a missing second panel is taken by the history. The result is at least 640 wide, with even sides,
    and of the same size for every frame of a video.
    """
    height, width = picture.shape[:2]
    out_width = max(LEAST_WIDTH, width + width % 2)
    out_height = round(height * out_width / width / 2) * 2
    if (out_width, out_height) != (width, height):
        resized = cv2.resize(picture, (out_width, out_height), interpolation=cv2.INTER_CUBIC)
        picture = np.asarray(resized, np.uint8)
    wrong = panels[0].disagreements(panels[1]) if len(panels) > 1 else ()
    canvas = Canvas(LEAST_WIDTH, STATUS_HEIGHT + PANEL_HEIGHT, out_width, BACKGROUND)
    canvas.box(0, 0, LEAST_WIDTH, STATUS_HEIGHT, PLATE)
    canvas.text(status, 10, STATUS_HEIGHT / 2, 8.5, TEXT)
    if wrong:
        words = ", ".join(wrong) if len(wrong) <= 5 else ", ".join(wrong[:5]) + f" and {len(wrong) - 5} more"
        canvas.text(f"differs: {words}", 630, STATUS_HEIGHT / 2, 8.5, WRONG, align=1.0)
    canvas.origin = (0, STATUS_HEIGHT)
    if len(panels) > 1 or history is not None:
        canvas.line((PANEL_WIDTH, 10), (PANEL_WIDTH, PANEL_HEIGHT - 10), EDGE, 1)
    _draw_panel(canvas, panels[0], frozenset(wrong))
    canvas.origin = (PANEL_WIDTH, STATUS_HEIGHT)
    if len(panels) > 1:
        _draw_panel(canvas, panels[1], frozenset())
    elif history is not None:
        _draw_history(canvas, history)
    return np.concatenate([picture, canvas.finished()])


def _draw_history(canvas: Canvas, history: History) -> None:
    left, right, top, bottom = 70.0, 310.0, 10.0, 140.0
    row = min(16.0, (bottom - top) / max(len(history.keys), 1))
    column = (right - left) / max(len(history.probabilities), 1)
    for n, key in enumerate(history.keys):
        y = top + n * row
        canvas.text(key, left - 8, y + row / 2, min(8.0, row * 0.75), DIM, align=1.0)
        canvas.box(left, y + 1, right - left, row - 2, PLATE)
        for frame, probability in enumerate(history.probabilities[:, BUTTON_INDEX[key]]):
            if probability >= 0.05:
                canvas.box(left + frame * column, y + 1, column, row - 2, _glow(float(probability)))
    x = left + (history.now + 0.5) * column
    canvas.line((x, top - 3), (x, top + row * len(history.keys) + 3), TEXT, 1.2)


def _draw_panel(canvas: Canvas, panel: Panel, wrong: frozenset[str]) -> None:
    canvas.text(panel.title.upper(), 10, 14, 8.5, TEXT if panel.known else DIM, bold=True)
    right = 310.0
    for flag in panel.flags:
        right -= canvas.chip(flag, right, 14, CHIP, CHIP_TEXT) + 4
    if not panel.known:
        canvas.text("no record of this frame", 160, 76, 11, DIM, align=0.5)
        return
    for button, label, x, y, width in _KEYS:
        probability = float(panel.probabilities[BUTTON_INDEX[button]])
        canvas.box(x, y, width, _SIDE, _glow(probability), radius=5, edge=WRONG if button in wrong else EDGE,
                   thickness=2.4 if button in wrong else 1)  # fmt: skip
        canvas.text(label, x + width / 2, y + _SIDE / 2, 8.5 if len(label) > 1 else 10.5, _ink(probability), align=0.5)
    _draw_mouse(canvas, panel, wrong)
    _draw_dial(canvas, panel, "camera" in wrong)
    if panel.confidence is not None:
        for y, name, value in zip((76, 98), ("keys", "camera"), panel.confidence, strict=True):
            canvas.text(f"{name} {100 * value:.0f}%", _COLUMN, y, 7.5, DIM)
            canvas.box(_COLUMN, y + 6, 52, 5, PLATE, radius=2.5)
            canvas.box(_COLUMN, y + 6, max(5.0, 52 * float(np.clip(value, 0, 1))), 5, LIT, radius=2.5)


def _draw_mouse(canvas: Canvas, panel: Panel, wrong: frozenset[str]) -> None:
    x, y, width, height = _MOUSE
    canvas.box(x, y, width, height, PLATE, radius=18, edge=EDGE)
    for n, (button, label) in enumerate((("attack", "L"), ("use", "R"))):
        probability = float(panel.probabilities[BUTTON_INDEX[button]])
        left = x + 4 + n * (width / 2 - 3)
        canvas.box(left, y + 4, width / 2 - 5, 30, _glow(probability), radius=8,
                   edge=WRONG if button in wrong else EDGE, thickness=2.4 if button in wrong else 1)  # fmt: skip
        canvas.text(label, left + (width / 2 - 5) / 2, y + 19, 9.5, _ink(probability), align=0.5)


def _draw_dial(canvas: Canvas, panel: Panel, wrong: bool) -> None:
    x, y, radius = _DIAL
    for degrees in _RINGS:
        canvas.circle((x, y), radius * _reach(degrees), EDGE, 0.8)
    canvas.line((x - radius, y), (x + radius, y), PLATE, 1)
    canvas.line((x, y - radius), (x, y + radius), PLATE, 1)
    pitch, yaw = panel.camera
    size = float(np.hypot(pitch, yaw))
    colour = WRONG if wrong else LIT
    if size >= 0.05:
        reach = radius * _reach(size) / size
        canvas.arrow((x, y), (x + yaw * reach, y + pitch * reach), colour)
    canvas.circle((x, y), 2.2, colour, None)
    for row, (name, value) in enumerate((("yaw", yaw), ("pitch", pitch))):
        canvas.text(name, _COLUMN, 35 + 17 * row, 7.5, DIM)
        canvas.text(f"{value:+.1f}°", 310, 35 + 17 * row, 9, WRONG if wrong else TEXT, align=1.0)


def _reach(degrees: float) -> float:
    """Degrees a frame to a share of the dial: logarithmic as the camera's bins, so that small turns can be seen."""
    return float(np.log1p(min(degrees, _RINGS[-1])) / np.log1p(_RINGS[-1]))


def _glow(probability: float) -> Colour:
    return _mix(PLATE, LIT, float(np.clip(probability, 0, 1)))


def _ink(probability: float) -> Colour:
    return DARK if probability > 0.55 else _mix(DIM, TEXT, min(1.0, 2 * probability))


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue
