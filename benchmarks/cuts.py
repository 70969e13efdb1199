"""How well idm/cuts.py finds cuts: recordings joined from pieces, and play without a cut.

    python -m benchmarks.cuts RECORDINGS...

Pieces of 5 to 15 seconds, drawn at random, are laid end to end, so that every cut is known: once from one recording to
another, and once within a recording, at least 10 seconds away, which often shows the same place. A cut counts as found only
on its very frame. False alarms an hour are counted on the recordings as they are, so a true jump in one (a respawn) counts
against the detector. Without recordings, made-up ones, which only show that it runs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray

from data.recording import find_recordings
from data.resample import TICK_RATE, at_rate
from data.video import VideoReader
from idm.cuts import CutDetector

Clip = NDArray[np.uint8]
BLOCK = 64


@dataclass(frozen=True)
class Args:
    """Settings."""

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Videos, or folders of them."""
    minutes: float = 3.0
    """Of each recording, from its beginning."""
    size: tuple[int, int] = (128, 128)
    """Height and width of the images that the detector sees."""
    cuts: int = 400
    """How many cuts of each kind."""
    thresholds: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.8)
    seed: int = 0
    quick: bool = False
    """Half a minute of each recording, 40 cuts."""


def read(video: Path, frames: int, size: tuple[int, int]) -> Clip:
    """The first frames of a video at 20 Hz, scaled: uint8 (T, H, W, 3)."""
    found: list[Clip] = []
    with VideoReader(video) as reader:
        for frame in at_rate(reader):
            if len(found) == frames:
                break
            found.append(np.asarray(cv2.resize(frame.rgb, size[::-1], interpolation=cv2.INTER_AREA), np.uint8))
    return np.stack(found)


def made_up(size: tuple[int, int], frames: int, seed: int) -> Clip:
    """A view that drifts over blocks of one colour scheme."""
    rng = np.random.default_rng(seed)
    tint = rng.integers(40, 200, 3)
    world = np.clip(tint + rng.integers(-40, 40, (20, 60, 1)), 0, 255).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    offsets = [(n // 4 % (320 - size[0]), n * 3 % (960 - size[1])) for n in range(frames)]
    return np.stack([world[y : y + size[0], x : x + size[1]] for y, x in offsets])


def scores(clip: Clip) -> NDArray[np.float64]:
    detector = CutDetector()
    return np.concatenate([detector.scores(clip[n : n + BLOCK]) for n in range(0, len(clip), BLOCK)])


def joined(
    clips: list[Clip], cuts: int, within: bool, rng: np.random.Generator
) -> tuple[NDArray[np.float64], list[int]]:
    """Scores (T,) of cuts + 1 pieces laid end to end, and the frames of the cuts. within: each cut in one recording."""
    detector, found, where = CutDetector(), list[NDArray[np.float64]](), list[int]()
    clip, end, done = int(rng.integers(len(clips))), -1, 0
    for number in range(cuts + 1):
        if number and not within and len(clips) > 1:
            clip = (clip + int(rng.integers(1, len(clips)))) % len(clips)
            end = -1
        frames = len(clips[clip])
        length = min(int(rng.integers(5 * TICK_RATE, 15 * TICK_RATE)), frames // 3)
        far = min(10 * TICK_RATE, frames // 4)
        starts = np.arange(frames - length)
        if within and end >= 0:
            starts = starts[np.abs(starts - end) >= far]
        start = int(rng.choice(starts))
        end = start + length
        if number:
            where.append(done)
        found.append(detector.scores(clips[clip][start:end]))
        done += length
    return np.concatenate(found), where


def main(args: Args) -> None:
    """Print a table of thresholds, and the time a frame."""
    rng = np.random.default_rng(args.seed)
    cuts, minutes = (40, 0.5) if args.quick else (args.cuts, args.minutes)
    frames = round(minutes * 60 * TICK_RATE)
    videos = [recording.video for folder in args.recordings for recording in find_recordings(folder)]
    clips = [read(video, frames, args.size) for video in videos] or [made_up(args.size, frames, n) for n in range(4)]
    begun = time.process_time()
    uncut = [scores(clip) for clip in clips]
    hours = sum(map(len, clips)) / TICK_RATE / 3600
    each = (time.process_time() - begun) / sum(map(len, clips)) * 1e6
    print(f"{len(clips)} recordings, {hours * 60:.1f} minutes of {args.size[0]}x{args.size[1]}; {each:.0f} µs a frame")
    kinds = {name: joined(clips, cuts, within, rng) for name, within in (("other", False), ("same", True))}
    print("            cut to another recording    cut within a recording      uncut play")
    print("threshold   precision  recall           precision  recall           false alarms an hour")
    for threshold in args.thresholds:
        row = f"{threshold:<12.2f}"
        for found, where in kinds.values():
            alarms = found > threshold
            hits = int(alarms[where].sum())
            row += f"{hits / max(int(alarms.sum()), 1):<11.3f}{hits / len(where):<17.3f}"
        print(row + f"{sum(int((s > threshold).sum()) for s in uncut) / hours:.1f}")


if __name__ == "__main__":
    main(tyro.cli(Args))
