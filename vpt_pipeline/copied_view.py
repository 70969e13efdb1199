"""Watch the search agent copy: its view beside the demonstration's frame, with keys, distance, limit and searches below.

    vpt play sets/logs --task logs --inspect

Made from what a play of a set leaves behind: NAME.mp4, NAME.jsonl (actions) and NAME.copied.jsonl (what was copied, a line a
frame). Demonstrations' videos are needed to look at them, and one that is gone costs only its own picture.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.video import VideoReader, VideoWriter
from vpt_pipeline.canvas import Canvas, Colour, Picture
from vpt_pipeline.demo_frames import DemoFrames, fitted
from vpt_pipeline.label_view import LabelView, read_view
from vpt_pipeline.overlay import BACKGROUND, CHIP_TEXT, DIM, EDGE, LIT, PANEL_HEIGHT, PLATE, TEXT, WRONG, compose
from vpt_pipeline.play_logs import read_log

VIEW_WIDTH = 640
"""Pixels of each of the two views."""

REASONS: dict[str, Colour] = {
    "begin": TEXT,
    "end": (120, 200, 140),
    "gap": (110, 215, 205),
    "long": (190, 150, 235),
    "diverged": CHIP_TEXT,
    "lost": WRONG,
}
"""Why a search happened, as search_agent/agent.py says it, and its colour."""

WISHED: dict[str, Colour] = {"wish": (120, 190, 235), "asked": (235, 170, 120)}
"""... where something was wished for: the copy no longer led there; something else was asked for."""

_RATE = 20  # of what plays leave behind
_QUALITY = 24  # as `vpt inspect` writes
_PAST, _AHEAD = 140, 40  # frames of the curve around now: a search is best understood from what led to it
_FLASH = 8  # frames for which the picture has a search's colour around it
_TITLE = 20  # height of the line above the views, in design units (640 a picture)
_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 310.0, 36.0, 116.0  # of the curve, in a panel of 320 x 150 units


@dataclass(frozen=True)
class Copied:
    """What one frame copied: frame ``frame`` (at the set's rate) of a demonstration ("": nothing was left to copy), the other
    way round where ``turned``, at ``distance``, which is doubted beyond ``limit``; searched: why it was searched for just now,
    or nothing. left: where a copy ended, its distance then, if it had one; hope: by how many deviations over chance the copy
    leads to what is wished for."""

    demo: str
    frame: int
    searched: str
    distance: float
    limit: float
    left: float | None = None
    hope: float | None = None
    turned: bool = False

    @property
    def colour(self) -> Colour:
        """Of why it was searched for."""
        return (REASONS | WISHED).get(self.searched, TEXT)

    @property
    def highest(self) -> float:
        """The most that a curve has to show."""
        return max(self.distance, self.limit, self.left or 0.0)


def copied_log(video: Path) -> Path:
    """Where it is told what a played video copied."""
    return video.with_suffix(".copied.jsonl")


def view_of(video: Path) -> Path:
    """Where the view of a played video is written."""
    return video.with_suffix(".inspect.mp4")


def read_copied(path: Path) -> list[Copied]:
    """A line a frame. Raises ValueError, naming the line, for anything else."""
    found = read_log(path, "what a set of demonstrations copied", "vpt play SET", _copied)
    if not found:
        raise ValueError(f"{path} is empty; expected a line a frame: play again")
    return found


def _copied(row: Mapping[str, Any]) -> Copied:
    numbers = (row["left"], row["hope"]) if "left" in row else (None, None)
    left, hope = (None if number is None else float(number) for number in numbers)
    return Copied(
        str(row["demo"]),
        int(row["frame"]),
        str(row["searched"]),
        float(row["distance"]),
        float(row["limit"]),
        left,
        hope,
        bool(row.get("turned", False)),
    )


def view_pictures(video: Path, videos: Mapping[str, Path], rate: int) -> Iterator[Picture]:
    """The pictures of a play, one a frame: uint8 (H, 1280, 3), all of one size.

    videos: where the demonstrations' videos are, by name; rate: of the set, frames a second. Raises ValueError where the video,
    its actions or its log cannot be read, or do not belong together.
    """
    log, actions = read_copied(copied_log(video)), read_view(video.with_suffix(".jsonl"))
    with VideoReader(video) as reader:
        if reader.info.frames not in (None, len(log)):
            raise ValueError(
                f"{copied_log(video)} has {len(log)} lines, {video} {reader.info.frames} frames; expected as many: play again"
            )
        height = round(reader.info.height * VIEW_WIDTH / reader.info.width / 2) * 2
        size = (VIEW_WIDTH, height)
        demos = DemoFrames(((one.demo, one.frame) for one in log), videos, rate, size, BACKGROUND)
        top = 1.08 * max(one.highest for one in log)
        for now, frame in zip(range(len(log)), reader, strict=False):
            theirs = demos.picture(log[now].demo, log[now].frame) if log[now].demo else "nothing is left to copy"
            if isinstance(theirs, str):
                shown = missing(theirs, size)
            else:
                shown = np.ascontiguousarray(theirs[:, ::-1]) if log[now].turned else theirs
            yield _draw(fitted(frame.rgb, size, BACKGROUND), shown, log, now, rate, top or 1.0, actions)


def write_view(
    video: Path, videos: Mapping[str, Path], rate: int, tell: Callable[[int], None] = lambda frames: None
) -> Path:
    """Write the view of a play beside it; see :func:`view_pictures`. Returns where it is."""
    pictures = view_pictures(video, videos, rate)
    first = next(pictures)
    with VideoWriter(view_of(video), (first.shape[1], first.shape[0]), _RATE, _QUALITY) as writer:
        writer.write(first)
        tell(1)
        for picture in pictures:
            writer.write(picture)
            tell(1)
    return view_of(video)


def _draw(
    view: Picture, theirs: Picture, log: Sequence[Copied], now: int, rate: int, top: float, actions: LabelView
) -> Picture:
    search = next(past for past in range(now, -1, -1) if log[past].searched or past == 0)
    if now - search < _FLASH:
        theirs = theirs.copy()
        cv2.rectangle(theirs, (0, 0), (theirs.shape[1] - 1, theirs.shape[0] - 1), log[search].colour, 8)
    title = _title(log[now], now, rate)
    both = np.concatenate([title, np.concatenate([view, theirs], 1)])
    status = (
        f"copied for {(now - search) / _RATE:.2f} s, since the search at {_clock(search, _RATE)} ({_why(log[search])})"
    )
    if (hope := log[now].hope) is not None:
        status += f"; it leads to the wish {abs(hope):.1f} deviations {'better' if hope > 0 else 'worse'} than chance"
    picture = compose(both, (actions.panel("what it does", now if now < len(actions) else None),), status)
    curve = draw_curve(log, now, top)
    picture[-len(curve) :, VIEW_WIDTH:] = curve
    return picture


def _why(search: Copied) -> str:
    """Why there was a search, and how far away the copy before was by then."""
    at = "" if search.left is None else f", at {search.left:.3g}"
    return f"{search.searched or 'not told'}{at}"


def _title(copied: Copied, now: int, rate: int) -> Picture:
    canvas = Canvas(VIEW_WIDTH, _TITLE, 2 * VIEW_WIDTH, PLATE)
    middle = _TITLE / 2
    canvas.text("THE AGENT SEES", 10, middle, 8.5, TEXT, bold=True)
    canvas.text(f"frame {now}   {_clock(now, _RATE)}", 310, middle, 8.5, DIM, align=1)
    where = f"{'mirrored   ' if copied.turned else ''}frame {copied.frame}   {_clock(copied.frame, rate)}"
    right = 630 - canvas.text(where, 630, middle, 8.5, DIM, align=1) - 8
    left = 338 + canvas.text("COPIES", 330, middle, 8.5, TEXT, bold=True)
    canvas.text(_shortened(copied.demo, int((right - left) / 4.7)), left, middle, 8.5, LIT)
    return canvas.finished()


def draw_curve(log: Sequence[Copied], now: int, top: float) -> Picture:
    """The distance around frame ``now``, up to ``top``: red where it is beyond the limit, marks where it was searched.

    uint8 (300, 640, 3).
    """
    canvas = Canvas(320, PANEL_HEIGHT, VIEW_WIDTH, BACKGROUND)
    canvas.line((0, 10), (0, PANEL_HEIGHT - 10), EDGE, 1)
    canvas.text("DISTANCE", 10, 14, 8.5, TEXT, bold=True)
    beyond = log[now].distance > log[now].limit
    wide = canvas.text(f"limit {log[now].limit:.3g}", 310, 14, 8.5, CHIP_TEXT, align=1)
    canvas.text(f"{log[now].distance:.3g}", 302 - wide, 14, 8.5, WRONG if beyond else LIT, align=1)
    canvas.box(_LEFT, _TOP, _RIGHT - _LEFT, _BOTTOM - _TOP, PLATE)
    canvas.text("0", _LEFT - 5, _BOTTOM, 7, DIM, align=1)
    canvas.text(f"{top:.2g}", _LEFT - 5, _TOP, 7, DIM, align=1)
    first, last = now - _PAST, now + _AHEAD

    def x(frame: float) -> float:
        return _LEFT + (frame - first) / (last - first) * (_RIGHT - _LEFT)

    def y(distance: float) -> float:
        return _BOTTOM - min(1.0, distance / top) * (_BOTTOM - _TOP)

    shown = range(max(0, first), min(len(log), last))
    for frame in shown:
        if frame % _RATE == 0:
            canvas.line((x(frame), _TOP), (x(frame), _BOTTOM), BACKGROUND, 0.8)
            if frame % (2 * _RATE) == 0 and _LEFT + 6 < x(frame) < _RIGHT - 6:
                canvas.text(_clock(frame, _RATE)[:-3], x(frame), _BOTTOM + 8, 6.5, DIM, align=0.5)
    _draw_searches(canvas, log, shown, x)
    for frame in shown:
        one, after = log[frame], log[frame + 1] if frame + 1 < len(log) else replace(log[frame], searched="")
        canvas.line((x(frame), y(one.limit)), (x(frame + 1), y(one.limit)), CHIP_TEXT, 1)
        # Where it was searched, this copy's distance ended at what it was left for; the next copy's is another matter.
        to = (one.distance if after.left is None else after.left) if after.searched else after.distance
        low, high = sorted((one.distance, to))
        canvas.line((x(frame), y(one.distance)), (x(frame + 1), y(to)), WRONG if low > one.limit else LIT, 1.8)
        if low <= one.limit < high:  # it passes the limit between two frames
            share = (one.limit - one.distance) / (to - one.distance)
            above = frame + (to > one.distance)
            canvas.line((x(frame + share), y(one.limit)), (x(above), y(high)), WRONG, 1.8)
        if after.searched and after.left is not None:
            canvas.circle((x(frame + 1), y(to)), 2.0, after.colour, None)
    canvas.line((x(now), _TOP - 3), (x(now), _BOTTOM + 3), TEXT, 1.2)
    canvas.circle((x(now), y(log[now].distance)), 2.4, TEXT, None)
    _draw_counts(canvas, Counter(one.searched for one in log[: now + 1] if one.searched))
    return canvas.finished()


def _draw_searches(canvas: Canvas, log: Sequence[Copied], shown: range, x: Callable[[float], float]) -> None:
    free = _LEFT - 20.0
    for frame in shown:
        if why := log[frame].searched:
            colour = log[frame].colour
            canvas.line((x(frame), _TOP - 5), (x(frame), _BOTTOM), colour, 1)
            if x(frame) - 2 > free:  # where searches follow each other closely, colours have to do
                wide = canvas.text(why, min(x(frame) - 2, _RIGHT - 3.4 * len(why)), _TOP - 9, 6.5, colour)
                free = x(frame) + wide + 1


def _draw_counts(canvas: Canvas, counts: Counter[str]) -> None:
    """How many searches there were until now, each kind in its colour: the marks' legend."""
    left = 10 + canvas.text("searches", 10, 140, 7.5, DIM) + 10
    kinds = REASONS
    if any(counts[why] for why in WISHED):  # there is room for all only where some have never happened
        kinds = {why: colour for why, colour in (REASONS | WISHED).items() if counts[why]}
    for why, colour in kinds.items():
        canvas.circle((left + 2.5, 140), 2.5, colour if counts[why] else EDGE, None)
        left += 8 + canvas.text(f"{why} {counts[why]}", left + 8, 140, 7.5, TEXT if counts[why] else DIM) + 10


def missing(why: str, size: tuple[int, int]) -> Picture:
    """A grey panel of ``size`` (width, height) that says why there is no picture."""
    width, height = size
    tall = 320 * height / width
    canvas = Canvas(320, tall, width, EDGE)
    lines = textwrap.wrap(why, 48)[: max(1, int(tall / 14) - 1)]
    for row, line in enumerate(lines):
        canvas.text(line, 160, tall / 2 + 14 * (row - (len(lines) - 1) / 2), 10, TEXT, align=0.5)
    return canvas.finished()


def _shortened(name: str, most: int) -> str:
    """Its ends: names of one recorder differ there."""
    most = max(most, 8)
    return name if len(name) <= most else f"{name[: most // 3]}..{name[len(name) - most + most // 3 + 2 :]}"


def _clock(frame: int, rate: int) -> str:
    seconds = frame / rate
    return f"{int(seconds // 60)}:{seconds % 60:05.2f}"
