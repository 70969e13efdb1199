"""Where a video jumps: hard cuts, joined recordings, a respawn or another world, told from fast turns and menus.

An action explains how one picture becomes the next, so across a jump there is none to find: labels there are noise, and a
training window must not span it. Each frame is compared with the one before on a thumbnail of 32 x 12 cells (the lowest
quarter, where games draw their hotbar, is left out):

* colours: how far two histograms of 64 colours differ. A turn shows much the same colours in other places.
* structure: one less the second-best correlation of eight tiles with the same tiles before. A menu darkens the picture and
  covers its middle, yet the corners keep their pattern; so do the parts of a picture around an explosion.
* surprise: the mean change of a cell against the most of the last frames. Amid a fast turn much change is expected.

A cut has all three, so their product decides. Sums are of integers and a frame's number follows from a short history alone:
results do not depend on how a video is cut into blocks. How often it is right: benchmarks/cuts.py.

What it cannot know: a cut to a picture of the same colours and outline (two meadows under one sky) looks like a turn. A
head inside a block, black from one frame to the next, and a menu over nothing but plain sky look like cuts. A fade is none.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

RUN_IN = 9
"""Frames to feed, and whose answers to drop, before beginning in the middle of a video: a frame's answer depends on this
many frames before it."""

_WIDTH, _HEIGHT, _TOP = 32, 16, 12
_TILE_ROWS, _TILE_COLUMNS = 2, 4
_PIXELS = _TOP * _WIDTH
_TILE = _PIXELS // (_TILE_ROWS * _TILE_COLUMNS)
_HISTORY = RUN_IN - 1

_USUAL = 8.0
"""Change of a cell (of 255) expected before there is a history: about what play shows within half a second."""
_CALM = 8.0
"""Added to the level of change, so that little is no surprise after a still picture."""
_ENOUGH = 2.0
"""More surprise than this tells no more: a still picture before a turn makes the turn as surprising as any cut."""
_FLAT = 25.0
"""Variance of grey at which a tile begins to have a pattern; flatter tiles correlate with nothing."""
_THRESHOLD = 0.5

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


class CutDetector:
    """Answers for each frame whether it begins a new scene. Streaming, without look-ahead.

    One detector for one video, fed its frames in order in blocks of any length. To begin at frame n of a video, feed
    frames n - RUN_IN to n - 1 first and drop their answers; the answers from n on are then those of an unbroken run.
    """

    def __init__(self, threshold: float = _THRESHOLD) -> None:
        """threshold: of the product of the three signs; higher finds fewer cuts and fewer that are none."""
        self.threshold = threshold
        self._last: NDArray[np.uint8] | None = None
        self._changes = np.full(_HISTORY, _USUAL)

    def feed(self, images_THWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The next T frames, RGB uint8 (T, H, W, 3) of any size -> bool (T,), True where a frame begins a new scene.

        A video's first frame is no cut. Raises ValueError for arrays of another shape or type.
        """
        return self.scores(images_THWC) > self.threshold

    def scores(self, images_THWC: NDArray[np.uint8]) -> Floats:
        """As :meth:`feed`, but the product itself, float64 (T,): what a threshold is chosen on."""
        if images_THWC.ndim != 4 or images_THWC.shape[-1] != 3 or images_THWC.dtype != np.uint8:
            raise ValueError(
                f"the cut detector was fed {images_THWC.dtype} {images_THWC.shape}; expected RGB frames, uint8 (T, H, W, 3)"
            )
        if not len(images_THWC):
            return np.zeros(0)
        fresh = np.stack([_thumbnail(image) for image in images_THWC])
        first = self._last is None
        thumbs = np.concatenate([fresh[:1] if self._last is None else self._last, fresh])
        change = np.abs(np.diff(thumbs.astype(np.int32), axis=0)).sum((1, 2, 3)) / (3 * _PIXELS)
        if first:
            change[0] = _USUAL  # nothing is known of what came before
        changes = np.concatenate([self._changes, change])
        before = np.lib.stride_tricks.sliding_window_view(changes, _HISTORY)[:-1].max(1)
        self._last, self._changes = thumbs[-1:].copy(), changes[-_HISTORY:]
        surprise = np.minimum(change / (before + _CALM), _ENOUGH)
        scores: Floats = np.sqrt(_new_colours(thumbs)) * _new_structure(thumbs) * surprise
        return scores


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small: NDArray[np.uint8] = cv2.resize(image, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)[:_TOP]
    return small


def _new_colours(thumbs: NDArray[np.uint8]) -> Floats:
    """(T + 1, ...) thumbnails -> (T,) in [0, 1]: half the difference of neighbours' histograms."""
    level = (thumbs >> 6).astype(np.int32)
    colour = (level[..., 0] * 16 + level[..., 1] * 4 + level[..., 2]).reshape(len(thumbs), -1)
    colour += 64 * np.arange(len(thumbs), dtype=np.int32)[:, None]
    counts = np.bincount(colour.ravel(), minlength=64 * len(thumbs)).reshape(-1, 64)
    share: Floats = np.abs(np.diff(counts, axis=0)).sum(1) / (2.0 * _PIXELS)
    return share


def _new_structure(thumbs: NDArray[np.uint8]) -> Floats:
    """(T + 1, ...) thumbnails -> (T,) in [0, 2]: one less the second-best correlation of tiles with those before."""
    grey = thumbs.sum(-1, dtype=np.int64)  # three times the mean
    rows, columns = _TOP // _TILE_ROWS, _WIDTH // _TILE_COLUMNS
    tiles = grey.reshape(-1, _TILE_ROWS, rows, _TILE_COLUMNS, columns).swapaxes(2, 3).reshape(len(grey), -1, _TILE)
    total, squares = tiles.sum(-1), np.square(tiles).sum(-1)
    products = (tiles[1:] * tiles[:-1]).sum(-1)
    # All three are n squared times the covariance or variance of three times the grey: 9 of those of the grey.
    variance = _TILE * squares - total**2
    covariance = _TILE * products - total[1:] * total[:-1]
    flat = (9.0 * _TILE**2 * _FLAT) ** 2
    correlation = covariance / np.sqrt(variance[1:].astype(float) * variance[:-1].astype(float) + flat)
    new: Floats = 1.0 - np.sort(correlation, axis=1)[:, -2]
    return new
