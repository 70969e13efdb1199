"""Which spans of labelled videos are worth training on: the rules, on the arrays of one video at a time.

Spans hold confident, active, unbroken play. The rules run in the order of :data:`RULES`, and a frame is dropped by the
first one that wants to, so that what each rule costs adds up. Files are read and written by data/span_table.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.json_config import JsonConfig
from data.resample import TICK_RATE

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RULES = (
    "unsure video", "GUI open", "resampled", "beside a cut", "unsure keys", "unsure camera", "idle", "short span",
)  # fmt: skip
"""Why frames are dropped, in the order in which the rules run."""

KeepOrDrop = Literal["keep", "drop"]


@dataclass(frozen=True)
class CleanRules(JsonConfig):
    """What a clean span is. Frames are ticks of 20 a second."""

    min_buttons: float = 0.6
    """Least confidence in the keys (conf_buttons, the surety of the least sure key), averaged over --smooth frames."""
    min_camera: float = 0.4
    """Least confidence in the camera (conf_camera, the probability of the likeliest bin), averaged over --smooth frames."""
    smooth: int = 21
    """Confidence is averaged over so many frames, half of them on either side; 1 takes each frame by itself."""
    tolerate: int = 10
    """So many unsure frames in a row are kept where sure ones stand on both sides: presses are where labels are least sure."""
    idle_seconds: float = 10.0
    """Of longer stretches in which nothing is done, so much is kept, half before and half after; 0 keeps none."""
    gui: KeepOrDrop = "keep"
    """Frames with a GUI open, where the camera is the cursor."""
    resampled: KeepOrDrop = "keep"
    """Frames of video that has another rate than 20 Hz, where motion runs at the wrong speed."""
    cut_margin: int = 2
    """Drop so many frames on either side of a cut, whose labels were read from two scenes. Cuts always end a span."""
    min_frames: int = 64
    """Shorter spans are dropped."""
    min_video: float = 0.5
    """Drop videos whose mean confidence, of keys and camera the lesser, is below: most likely no such game."""

    def __post_init__(self) -> None:
        for name in ("min_buttons", "min_camera", "min_video"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a confidence from 0 to 1")
        for name, least in (("smooth", 1), ("tolerate", 0), ("idle_seconds", 0), ("cut_margin", 0), ("min_frames", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        for name in ("gui", "resampled"):
            if getattr(self, name) not in ("keep", "drop"):
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected 'keep' or 'drop'")


@dataclass(frozen=True)
class LabelledFrames:
    """What the rules look at: the labels of T frames of one video, in order, as columns of the label table."""

    video: str
    frame: NDArray[np.int32]
    conf_buttons: NDArray[np.float32]
    conf_camera: NDArray[np.float32]
    null: Bools
    gui: Bools
    resampled: Bools
    cut: Bools

    def __len__(self) -> int:
        return len(self.frame)


COLUMNS = tuple(field.name for field in fields(LabelledFrames))
"""The columns of a label table that the rules need."""


@dataclass(frozen=True)
class CleanSpans:
    """The clean spans of one video, N of them, and what the rules dropped.

    start, stop: int64 (N,), frames of the label table, stop exclusive. confidence: float64 (N,), the mean over the span of
    the lesser of keys and camera. frames: of the video. dropped: rule -> frames. cuts: how many the labels tell of.
    """

    video: str
    start: Ints
    stop: Ints
    confidence: Floats
    frames: int
    dropped: dict[str, int]
    cuts: int


def clean_spans(labels: LabelledFrames, rules: CleanRules) -> CleanSpans:
    """Apply the rules to one video. Raises ValueError where frames are not in order."""
    frames, steps = len(labels), np.diff(labels.frame)
    if (steps <= 0).any():
        raise ValueError(f"the frames of video {labels.video!r} are not in order; label it again")
    begins = np.append(True, steps != 1)[:frames] | labels.cut
    scene = np.cumsum(begins, dtype=np.int64)
    lesser = np.minimum(labels.conf_buttons, labels.conf_camera).astype(np.float64)
    why = np.zeros(frames, np.int8)  # 0: kept, else 1 + the rule

    def drop(rule: str, where: Bools) -> None:
        why[where & (why == 0)] = RULES.index(rule) + 1

    if frames and lesser.mean() < rules.min_video:
        drop("unsure video", np.ones(frames, bool))
    if rules.gui == "drop":
        drop("GUI open", labels.gui)
    if rules.resampled == "drop":
        drop("resampled", labels.resampled)
    drop("beside a cut", _beside(np.flatnonzero(labels.cut), rules.cut_margin, frames))
    keys = smoothed(labels.conf_buttons, rules.smooth, scene) >= rules.min_buttons
    camera = smoothed(labels.conf_camera, rules.smooth, scene) >= rules.min_camera
    unsure = ~tolerated(keys & camera, rules.tolerate, scene)
    drop("unsure keys", unsure & ~keys)
    drop("unsure camera", unsure)
    drop("idle", _idle(labels.null & (why == 0), why == 0, scene, round(rules.idle_seconds * TICK_RATE)))
    start, stop = runs(why == 0, scene)
    for a, b in zip(start, stop, strict=True):
        if b - a < rules.min_frames:
            why[a:b] = RULES.index("short span") + 1
    long = stop - start >= rules.min_frames
    start, stop = start[long], stop[long]
    total = np.append(0.0, np.cumsum(lesser))
    counts = np.bincount(why, minlength=len(RULES) + 1)[1:]
    first = labels.frame[start].astype(np.int64)
    return CleanSpans(
        labels.video, first, first + stop - start, (total[stop] - total[start]) / np.maximum(stop - start, 1), frames,
        dict(zip(RULES, counts.tolist(), strict=True)), int(np.count_nonzero(labels.cut)),
    )  # fmt: skip


def smoothed(values: NDArray[np.floating[Any]], window: int, scene: Ints) -> Floats:
    """(T,) -> float64 (T,): the mean over ``window`` frames around each, of the same scene (T,) only."""
    frames = np.arange(len(values))
    total = np.append(0.0, np.cumsum(values, dtype=np.float64))
    first, end = np.searchsorted(scene, scene, "left"), np.searchsorted(scene, scene, "right")
    low, high = np.maximum(frames - window // 2, first), np.minimum(frames + (window + 1) // 2, end)
    mean: Floats = (total[high] - total[low]) / np.maximum(high - low, 1)
    return mean


def tolerated(values: NDArray[Any], frames: int, scene: Ints) -> NDArray[Any]:
    """Fill valleys of up to ``frames`` frames, but not those at a scene's ends: (T,) -> (T,), bools or numbers.

    A valley rises to the lower of the two banks it needs (a grey-scale closing), so that for every threshold x,
    ``tolerated(values) >= x`` is ``tolerated(values >= x)``.
    """
    out = values.copy()
    if frames == 0:
        return out
    lowest = False if values.dtype == bool else -np.inf
    for start, stop in zip(*runs(np.ones(len(values), bool), scene), strict=True):
        padded = np.pad(values[start:stop], frames, constant_values=lowest)
        banks = np.lib.stride_tricks.sliding_window_view(padded, frames + 1).max(1)
        out[start:stop] = np.lib.stride_tricks.sliding_window_view(banks, frames + 1).min(1)
    return out


def runs(mask: Bools, scene: Ints) -> tuple[Ints, Ints]:
    """Starts and ends (exclusive) of the stretches of True within a scene each."""
    inside = mask.astype(np.int8)
    fresh = np.append(True, np.diff(scene) != 0)[: len(mask)]
    start = np.flatnonzero(mask & (fresh | (np.append(0, inside[:-1])[: len(mask)] == 0)))
    last = np.append(fresh[1:], True)[: len(mask)] | (np.append(inside[1:], 0)[: len(mask)] == 0)
    return start, np.flatnonzero(mask & last) + 1


def _beside(cuts: Ints, margin: int, frames: int) -> Bools:
    near = np.zeros(frames, bool)
    for offset in range(-margin, margin):
        at = cuts + offset
        near[at[(at >= 0) & (at < frames)]] = True
    return near


def _idle(still: Bools, kept: Bools, scene: Ints, most: int) -> Bools:
    """The frames to drop of stretches of ``still`` longer than ``most``; what is kept of them touches what is done."""
    drop = np.zeros(len(still), bool)
    for start, stop in zip(*runs(still, scene), strict=True):
        if stop - start <= most:
            continue
        before = start > 0 and scene[start - 1] == scene[start] and bool(kept[start - 1])
        after = stop < len(still) and scene[stop] == scene[stop - 1] and bool(kept[stop])
        head = most if not after else most // 2 if before else 0
        drop[start + head : stop - (most - head)] = True
    return drop


def read_thresholds(path: Path, rules: CleanRules) -> CleanRules:
    """The rules with the thresholds that ``vpt thresholds`` chose, and what they were chosen for (smooth, tolerate).

    Raises ValueError, naming the file, where it is another kind of file, or where the rules ask for something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        chosen = {name: type(getattr(rules, name))(content[name]) for name in CHOSEN}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected thresholds as `vpt thresholds` writes them ({', '.join(CHOSEN)}), found none ({error!r})"
        ) from error
    usual = CleanRules()
    for name, value in chosen.items():
        asked = getattr(rules, name)
        if asked not in (getattr(usual, name), value):
            raise ValueError(f"{path}: says {name} {value}, but {asked} was asked for; give one of the two")
    return CleanRules.from_dict({**rules.to_dict(), **chosen}, str(path))


CHOSEN = ("min_buttons", "min_camera", "smooth", "tolerate")
"""The settings that a thresholds file holds: confidence means what it was measured to mean only when it is made alike."""
