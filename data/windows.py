"""Overlapping windows over a video, and which frames of each are kept.

A model that looks both ways predicts worst near a window's ends. So windows overlap, and where two overlap, each keeps
the half that is further from its own end: VPT's 128 frames with stride 64 keep their middle 64. The first window keeps
its beginning and the last its end, and every frame is kept exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

WINDOW_LENGTH = 128
WINDOW_STRIDE = 64

T = TypeVar("T")


@dataclass(frozen=True)
class Window:
    """Frames ``start`` to ``stop`` go in, predictions ``keep_start`` to ``keep_stop`` are kept; all count from the
    video's first frame, and stops are exclusive."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def kept(self) -> slice:
        """The kept part, counted within the window."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


def windows(frames: int, length: int = WINDOW_LENGTH, stride: int = WINDOW_STRIDE) -> list[Window]:
    """The windows over ``frames`` frames, in order.

    All are ``length`` long, except that fewer frames than that make one short window; the last one is shifted back to
    end at the last frame. Raises ValueError unless 1 <= stride <= length and frames >= 0.
    """
    _check(length, stride)
    if frames < 0:
        raise ValueError(f"frames is {frames}; expected 0 or more")
    if frames == 0:
        return []
    starts = [*range(0, frames - length, stride), max(0, frames - length)]
    stops = [min(start + length, frames) for start in starts]
    borders = [_border(stop, start) for stop, start in zip(stops, starts[1:], strict=False)]
    return [Window(*parts) for parts in zip(starts, stops, [0, *borders], [*borders, frames], strict=True)]


def stream_windows(
    items: Iterable[T], length: int = WINDOW_LENGTH, stride: int = WINDOW_STRIDE
) -> Iterator[tuple[Window, list[T]]]:
    """The same windows with their items, from a stream whose end is not known; holds at most length + stride items."""
    _check(length, stride)
    held: list[T] = []
    start = keep_start = 0
    for item in items:
        held.append(item)
        if len(held) == length + stride:  # only now is it certain that a whole stride follows
            border = _border(start + length, start + stride)
            yield Window(start, start + length, keep_start, border), held[:length]
            del held[:stride]
            start, keep_start = start + stride, border
    end = start + len(held)
    if len(held) > length:  # less than a stride is left over: the last window is shifted back
        border = _border(start + length, end - length)
        yield Window(start, start + length, keep_start, border), held[:length]
        del held[: len(held) - length]
        start, keep_start = end - length, border
    if held:
        yield Window(start, end, keep_start, end), held


def _check(length: int, stride: int) -> None:
    if not 1 <= stride <= length:
        raise ValueError(f"window length {length}, stride {stride}; expected 1 <= stride <= length")


def _border(stop: int, next_start: int) -> int:
    """Where one window's kept part ends and the next one's begins: the middle of what both see."""
    return (next_start + stop) // 2
