"""Recordings decoded once: what training reads, memory-mapped.

Decoding, scaling and optical flow of a recording are done the first time it is used and kept under a name made from the
recording's content and the settings that shape the inputs, so that a changed file or setting is never mistaken for an old
one, and several models share one cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import ActionTrack
from data.files import folder_once, sha256_file
from data.recording import Recording
from data.resample import at_rate
from data.video import VideoReader
from idm.config import IDMConfig
from idm.inputs import FrameInputs, InputMaker
from idm.motion import CHANNELS

VERSION = 1
"""Raise when the inputs of a frame are computed in another way."""


@dataclass(frozen=True)
class CachedRecording:
    """A recording's inputs (memory-mapped) beside its actions, T frames each."""

    name: str
    player: str
    inputs: FrameInputs
    actions: ActionTrack

    def __len__(self) -> int:
        return len(self.inputs)


def inputs_key(config: IDMConfig) -> str:
    """What of a model's settings shapes its inputs, as a short text."""
    if config.stem == "motion":
        return (
            f"v{VERSION}-motion-{config.image_size}-{config.resize}-{config.flow_size}-{config.flow_grid}-{config.rate}"
        )
    return f"v{VERSION}-{config.image_size}-{config.resize}-{config.rate}"


def _write(recording: Recording, config: IDMConfig, folder: Path) -> None:
    track = recording.load_actions()
    actions = track.actions
    images, motions = [], []
    with VideoReader(recording.video) as reader:
        frames = (tick.rgb for tick in at_rate(reader, config.rate))
        for block in InputMaker(config).stream(frames):
            images.append(block.images)
            motions.append(block.motion)
        problems = list(reader.problems) + list(track.problems)
    if not images:
        raise ValueError(f"{recording.video}: no frame could be decoded ({'; '.join(problems) or 'no reason given'})")
    count = sum(len(block) for block in images)
    if abs(count - len(actions)) > 1:  # contractor recordings are known to differ by one
        raise ValueError(
            f"{recording.video}: {count} frames at {config.rate} Hz but {len(actions)} action records in {recording.actions};"
            " expected as many. Is the video cut, or recorded at another rate?"
        )
    count = min(count, len(actions))
    actions = actions[:count]
    np.save(folder / "images.npy", np.concatenate(images)[:count])
    motion: NDArray[np.float16] = np.concatenate(motions)[:count]
    np.save(folder / "motion.npy", motion)
    np.savez(
        folder / "actions.npz",
        buttons=actions.buttons, camera=actions.camera, gui_open=actions.gui_open, valid=actions.valid,
    )  # fmt: skip
    meta = {"video": str(recording.video), "problems": problems, "channels": CHANNELS, "frames": count}
    (folder / "about.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def cached(recording: Recording, config: IDMConfig, cache: Path) -> CachedRecording:
    """The recording's inputs, made now if they are not in ``cache`` yet.

    Raises ValueError if the video cannot be read or does not fit its action records.
    """
    content = sha256_file(recording.video) + (sha256_file(recording.actions) if recording.actions else "")
    key = hashlib.sha256(f"{content} {inputs_key(config)}".encode()).hexdigest()[:24]
    folder = folder_once(cache / key, lambda fresh: _write(recording, config, fresh))
    arrays = np.load(folder / "actions.npz")
    inputs = FrameInputs(np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "motion.npy", mmap_mode="r"))
    actions = ActionTrack(arrays["buttons"], arrays["camera"], arrays["gui_open"], arrays["valid"])
    player = str(recording.load_meta().get("player", "")) if recording.meta else ""
    return CachedRecording(recording.video.stem, player, inputs, actions)


def cache_all(
    recordings: list[Recording], config: IDMConfig, cache: Path, progress: Callable[[Any], Any] = lambda _: None
) -> tuple[list[CachedRecording], list[str]]:
    """Every recording that can be used, and a message for each that cannot."""
    usable, refused = [], []
    for recording in recordings:
        try:
            usable.append(cached(recording, config, cache))
        except ValueError as error:
            refused.append(str(error))
        progress(recording)
    return usable, refused
