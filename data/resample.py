"""Bringing video of any rate to the action space's ticks, with exact arithmetic.

Tick k shows what a viewer would see ``k / rate`` seconds after the first frame: the last frame that had appeared by
then (to the resolution of the container's clock). Slow video repeats frames, fast video loses some, and both are
counted and flagged, because an inverse dynamics model sees motion at the wrong speed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from data.video import VideoFrame

TICK_RATE = 20
"""Ticks a second of Minecraft, and of everything here."""

LONGEST_GAP_S = 600
"""A jump in time beyond this is a broken timestamp rather than a picture that stood still."""

_SMALL_STEP_BACK_S = 1
"""Steps back up to this are jitter, or a container that does not know its B-frames."""

_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class TickFrame:
    """What is on screen at one tick: rgb uint8 (height, width, 3) of source frame ``source_index`` with its pts.

    resampled: the source does not advance by exactly one tick's time here (to the resolution of its clock), or this is
    not the frame after the one before: motion runs at the wrong speed.
    """

    tick: int
    source_index: int
    pts: int
    time_base: Fraction
    rgb: NDArray[np.uint8]
    resampled: bool


@dataclass
class ResampleReport:
    """What resampling did; complete once the ticks are exhausted.

    repeated: ticks that show the same frame again. dropped: frames that no tick shows. resampled: ticks so flagged.
    rebased: jumps in time that were closed (see :func:`at_rate`), the first of them told in problems.
    """

    source_frames: int = 0
    ticks: int = 0
    repeated: int = 0
    dropped: int = 0
    resampled: int = 0
    rebased: int = 0
    problems: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return (
            f"{self.source_frames} frames to {self.ticks} ticks: {self.repeated} repeated, {self.dropped} dropped, "
            f"{self.resampled} flagged, {self.rebased} jumps in time closed"
        )


def at_rate(
    frames: Iterable[VideoFrame], rate: int | Fraction = TICK_RATE, report: ResampleReport | None = None
) -> Iterator[TickFrame]:
    """The ticks from the first frame's time to the last frame's, streaming; ``report`` is filled in as they pass.

    Timestamps need not begin at 0. Where one goes back or stands still, the frame takes the place of the one before;
    where it goes back or ahead so far that the clock must have been reset (joined files, damage; LONGEST_GAP_S),
    the recording goes on one tick later, as if it had not. Raises ValueError for a rate that is not positive.
    """
    if rate <= 0:
        raise ValueError(f"rate is {rate}; expected a positive number of ticks a second")
    report = report if report is not None else ResampleReport()
    step = 1 / Fraction(rate)
    tick = 0
    shown: int | None = None  # the frame that the tick before showed
    gap: Fraction | None = None  # the time from this frame to the next; of the last frame, from the one before
    timed = _on_one_clock(frames, step, report)
    current = next(timed, None)
    while current is not None:
        frame, time = current
        following = next(timed, None)
        gap = following[1] - time if following is not None else gap
        # A coarse clock rounds a right gap by less than one unit; a very coarse one must not excuse everything.
        off_rate = gap is not None and abs(gap - step) >= min(frame.time_base, step / 10)
        first_tick = tick
        # Half a unit of the clock is rounding: a frame due at 66.67 ms and written as 67 ms is not late.
        rounding = frame.time_base / 2 if frame.time_base <= step / 10 else Fraction(0)
        while tick * step < following[1] - rounding if following is not None else tick * step <= time + rounding:
            resampled = off_rate or (shown is not None and frame.index != shown + 1)
            report.ticks += 1
            report.repeated += shown == frame.index
            report.resampled += resampled
            shown = frame.index
            yield TickFrame(tick, frame.index, frame.pts, frame.time_base, frame.rgb, resampled)
            tick += 1
        report.dropped += tick == first_tick
        current = following


def _on_one_clock(
    frames: Iterable[VideoFrame], step: Fraction, report: ResampleReport
) -> Iterator[tuple[VideoFrame, Fraction]]:
    """Each frame with its time in seconds after the first: never falling, without impossible jumps."""
    origin: Fraction | None = None
    now = Fraction(0)
    for frame in frames:
        report.source_frames += 1
        stamp = frame.pts * frame.time_base
        if origin is None:
            origin = stamp
        time = stamp - origin
        if not now - _SMALL_STEP_BACK_S <= time <= now + LONGEST_GAP_S:
            report.rebased += 1
            if len(report.problems) < _MAX_PROBLEMS:
                jump = f"its time jumps by {float(time - now):+.1f} s"
                report.problems.append(f"frame {frame.index}: {jump}; continued one tick after the last")
            origin = stamp - now - step
            time = now + step
        now = max(now, time)
        yield frame, now
