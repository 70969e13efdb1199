"""Look at labels: a video with keys, mouse, turn and confidence below each frame, beside the truth where it is known.

Labels are a table from `vpt label` (.parquet) or actions in contractor format (.jsonl). With --truth, predicted and true
stand side by side and what differs is marked red. With --out NAME.png one frame is written as a picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro

from data.actions import BUTTONS
from data.files import atomic_path
from data.resample import TickFrame, at_rate
from data.video import VideoReader, VideoWriter
from vpt_pipeline.canvas import Picture
from vpt_pipeline.label_view import LabelView, read_view
from vpt_pipeline.overlay import History, compose
from vpt_pipeline.progress import progress_bar, say

RATE = 20
_QUALITY = 24  # H.264's scale: letters stay sharp, and ten seconds take about a megabyte
_AROUND = 40  # frames of history shown before and after now: two seconds each


@dataclass(frozen=True)
class InspectConfig:
    """Settings of `vpt inspect`."""

    video: Annotated[Path, tyro.conf.Positional]
    """The video that the labels belong to."""
    labels: Path
    """What was predicted: a label table (.parquet) or actions (.jsonl, one record a frame of the video)."""
    truth: Path | None = None
    """What was recorded (.jsonl), to compare with."""
    out: Path | None = None
    """Where to write: .mp4, or .png for one frame. Default: runs/inspect/VIDEO.mp4"""
    start: int = 0
    """First frame to show, counted at 20 frames a second."""
    frames: int | None = None
    """How many frames to show. Default: to the end."""


def overlay_frames(
    video: Path, labels: Path, truth: Path | None = None, *, start: int = 0, frames: int | None = None
) -> Iterator[Picture]:
    """The overlay pictures of ticks start, start + 1, ... at 20 Hz: uint8 (H, W, 3), all of one size.

    Raises ValueError naming the file where labels or truth cannot be read or begin after the video's end.
    """
    said, known = read_view(labels, video.stem), None if truth is None else read_view(truth, video.stem)
    rows = _rows_to_show(said)
    with VideoReader(video) as reader:
        for frame in _span(at_rate(reader, RATE), start, frames):
            yield _draw(frame, said, known, rows)


def write_clip(
    video: Path, labels: Path, truth: Path | None, out: Path, *, start: int = 0, frames: int | None = None
) -> int:
    """Write the overlay to ``out`` (.mp4, or .png for the first frame alone). Returns how many frames were written.

    Raises ValueError where nothing lies in the span.
    """
    if out.suffix not in (".mp4", ".png"):
        raise ValueError(f"cannot write {out}: expected a name that ends in .mp4 or .png, found {out.suffix!r}")
    pictures = overlay_frames(video, labels, truth, start=start, frames=1 if out.suffix == ".png" else frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{video} has no frame {start} at {RATE} frames a second: choose a smaller --start")
    if out.suffix == ".png":
        with atomic_path(out) as part:
            cv2.imwrite(str(part), cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
        return 1
    count = 1
    size = (first.shape[1], first.shape[0])
    with progress_bar("drawing", frames, "frames") as bar, VideoWriter(out, size, fps=RATE, crf=_QUALITY) as writer:
        writer.write(first)
        for picture in pictures:
            writer.write(picture)
            count += 1
            bar.advance()
    return count


def main(config: InspectConfig) -> int:
    if config.start < 0 or (config.frames is not None and config.frames < 1):
        raise ValueError(f"--start {config.start} --frames {config.frames}: expected start >= 0 and at least one frame")
    out = config.out or Path("runs/inspect") / f"{config.video.stem}.mp4"
    count = write_clip(config.video, config.labels, config.truth, out, start=config.start, frames=config.frames)
    say(f"{out}: {count} frames, {count / RATE:.1f} s")
    return 0


def _span(ticks: Iterator[TickFrame], start: int, frames: int | None) -> Iterator[TickFrame]:
    for frame in ticks:
        if frames is not None and frame.tick >= start + frames:
            return
        if frame.tick >= start:
            yield frame


def _draw(frame: TickFrame, said: LabelView, truth: LabelView | None, rows: tuple[str, ...]) -> Picture:
    row = said.row(frame.tick, frame.source_index)
    panels = [said.panel("predicted" if truth is not None else said.title, row)]
    history = None
    if truth is not None:
        panels.append(truth.panel("true", truth.row(frame.tick, frame.source_index)))
    elif row is not None:
        around = np.zeros((2 * _AROUND + 1, len(BUTTONS)))
        first, last = max(row - _AROUND, 0), min(row + _AROUND + 1, len(said))
        around[first - row + _AROUND : last - row + _AROUND] = said.probabilities[first:last]
        history = History(around, _AROUND, rows)
    seconds = frame.tick / RATE
    status = f"frame {frame.tick}   {int(seconds // 60)}:{seconds % 60:05.2f}"
    if frame.resampled:
        status += f"   (frame {frame.source_index} of the video)"
    return compose(frame.rgb, tuple(panels), status, history)


def _rows_to_show(labels: LabelView, most: int = 11) -> tuple[str, ...]:
    """The keys of the history: those pressed at all, the most used ones if there are many, in the usual order."""
    used = labels.held.sum(0)
    chosen = sorted(np.argsort(-used, kind="stable")[:most].tolist())
    return tuple(BUTTONS[k] for k in chosen if used[k]) or ("forward",)
