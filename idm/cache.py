"""Recordings to train the inverse dynamics model on: inputs decoded once (data/input_cache.py) beside the recorded actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import ActionTrack
from data.frame_inputs import FrameInputs
from data.input_cache import cached_inputs
from data.recording import Recording
from idm.config import IDMConfig


@dataclass(frozen=True)
class CachedRecording:
    """A recording's inputs (memory-mapped) beside its actions and the hotbar slots selected (from 0), T frames each."""

    name: str
    player: str
    inputs: FrameInputs
    actions: ActionTrack
    slots: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.inputs)


def cached(recording: Recording, config: IDMConfig, cache: Path) -> CachedRecording:
    """The recording's inputs, made now if they are not in ``cache`` yet.

    Raises ValueError if the video cannot be read or does not fit its action records.
    """
    recorded = recording.load_actions()
    actions = recorded.actions
    inputs = cached_inputs(recording.video, config.inputs, cache)
    if abs(len(inputs) - len(actions)) > 1:  # contractor recordings are known to differ by one
        raise ValueError(
            f"{recording.video}: {len(inputs)} frames at {config.rate} Hz but {len(actions)} action records in "
            f"{recording.actions}; expected as many. Is the video cut, or recorded at another rate?"
        )
    count = min(len(inputs), len(actions))
    player = str(recording.load_meta().get("player", "")) if recording.meta else ""
    return CachedRecording(recording.video.stem, player, inputs[:count], actions[:count], recorded.hotbar[:count])


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
