"""Episodes to clone: what the policy reads of frames, decoded once (data/input_cache.py), beside joint actions and weights.

Actions are small and read anew each time: other labels or other choices need no decoding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from data.actions import UNKNOWN_SLOT, ActionTrack
from data.ahead import beside_each_other
from data.contractor_record import FIELD_ERRORS, read_records
from data.cursor import Cursor
from data.files import sha256_file
from data.frame_inputs import InputShape, Views
from data.input_cache import cached_inputs
from data.joint_actions import JointActions
from data.label_folder import LabelFolder
from data.recording import Recording
from data.streamed_inputs import OpenVideos, StreamedInputs
from data.video_index import IrregularVideo
from prior.config import PolicyConfig

Nulls = Literal["drop", "mask", "keep"]
"""What to do with frames in which nothing was done. ``drop``: leave them out, so that memory does not see them, either (VPT's
way: cloned with them, an agent mostly stands still). ``mask``: seen and remembered, but not learnt. ``keep``: learnt."""

Doubts = Literal["keep", "mask", "weight"]
"""What to do with doubtful labels. ``keep``: learn them as any other. ``mask``: do not learn rows flagged low_confidence.
``weight``: let each row count as much as it is sure (the lesser of both confidences)."""


LEAD_IN = 32
"""Frames of somebody who is not to be copied that are remembered when it is the next one's turn."""


@dataclass(frozen=True)
class Choices:
    """How actions become what is cloned."""

    nulls: Nulls = "drop"
    doubts: Doubts = "keep"


class Inputs(Protocol):
    """A video's frames as models read them: kept (:class:`FrameInputs`) or decoded while they are used."""

    def __len__(self) -> int: ...

    def views(self, rows: NDArray[np.int64], first: NDArray[np.bool_]) -> Views:
        """See :meth:`data.frame_inputs.FrameInputs.views`."""


@dataclass(frozen=True, eq=False)
class Episode:
    """T frames of one stretch of play.

    inputs: of N frames of a video, memory-mapped, of which ``rows`` int64 (T,) are the episode's frames. buttons, camera: int64
    (T,), joint numbers. weight: float32 (T,), how much each counts in the loss. first: bool (T,), where something new begins
    and what was before is to be forgotten: at the start, and at cuts. hotbar: int64 (T,), the slot selected when a frame was
    seen, from 0; -1 where that is not known. video: where the frames come from.
    """

    name: str
    player: str
    inputs: Inputs
    rows: NDArray[np.int64]
    buttons: NDArray[np.int64]
    camera: NDArray[np.int64]
    weight: NDArray[np.float32]
    first: NDArray[np.bool_]
    hotbar: NDArray[np.int64]
    video: Path | None = None

    def __len__(self) -> int:
        return len(self.rows)


def episode_of(
    name: str,
    player: str,
    inputs: Inputs,
    track: ActionTrack,
    choices: Choices,
    sure: NDArray[np.float32] | None = None,
    cut: NDArray[np.bool_] | None = None,
    copied: NDArray[np.bool_] | None = None,
    hotbar: NDArray[np.int8] | None = None,
) -> Episode:
    """An episode of frames and the actions taken in them. sure: float32 (N,), weights of the frames; cut: bool (N,).

    copied: bool (N,), False where somebody acted who is not to be copied: of that only the last frames are kept, to remember.
    hotbar: int8 (N,), the slot selected after each action, -1 where that is not known.
    """
    actions = JointActions()
    buttons, camera = actions.from_track(track)
    weight = np.where(track.valid, np.float32(1) if sure is None else sure, np.float32(0)).astype(np.float32)
    null = actions.is_null(buttons, camera) & track.valid
    kept = np.ones(len(track), bool)
    first = np.zeros(len(track), bool) if cut is None else cut.copy()
    if copied is not None:
        weight[~copied] = 0
        kept = np.convolve(copied, np.ones(LEAD_IN + 1), "full")[LEAD_IN:] > 0
        first |= ~kept
    if choices.nulls == "mask":
        weight[null] = 0
    elif choices.nulls == "drop":
        kept &= ~null
    # A cut in a frame that is left out shows in the next one that is kept.
    rows = np.flatnonzero(kept)
    first = np.diff(np.cumsum(first)[rows], prepend=0) > 0
    first[:1] = True
    seen = np.full(len(track), UNKNOWN_SLOT, np.int64)
    if hotbar is not None:
        seen[1:] = hotbar[:-1]  # a frame shows what the action before has selected
        if cut is not None:
            seen[cut] = UNKNOWN_SLOT
    return Episode(name, player, inputs, rows, buttons[rows], camera[rows], weight[rows], first, seen[rows])


# -- frames ------------------------------------------------------------------------------------------------------------


def frames_of(recording: Recording, shape: InputShape, cache: Path, videos: OpenVideos | None = None) -> Inputs:
    """What the policy reads of the recording's frames, at ``shape.rate``, made now if ``cache`` has it not; with ``videos``
    decoded while it is used, unless the video can only be read from its beginning.

    Where the records say that a GUI was open, the cursor is drawn in: contractors' screens were recorded without it.
    Raises ValueError if no frame can be decoded.
    """
    # Recordings from `vpt record` show the cursor, as their games do.
    actions = None if "game" in recording.load_meta() else recording.actions
    if videos is not None:
        try:
            return StreamedInputs(recording.video, shape, videos, None if actions is None else _CursorOn(actions))
        except IrregularVideo:
            pass
    if actions is None:
        return cached_inputs(recording.video, shape, cache)
    drawn = f"cursor {sha256_file(actions)}"
    draw = _CursorOn(actions)
    return cached_inputs(recording.video, shape, cache, lambda frames: map(draw, itertools.count(), frames), drawn)


class _CursorOn:
    """Draws the cursor into frames in which the records say that a GUI was open."""

    def __init__(self, actions: Path) -> None:
        self._records, self._cursor = read_records(actions)[0], Cursor()

    def __call__(self, row: int, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        record = self._records[row] if row < len(self._records) else None
        try:
            if record is not None and record.gui_open:
                rgb = rgb.copy()
                self._cursor.draw(rgb, *self._cursor.at(*record.cursor, len(rgb), wraps=False), wraps=False)
        except FIELD_ERRORS:
            pass  # a broken record, which the actions report
        return rgb


# -- sources -----------------------------------------------------------------------------------------------------------


def recorded_episode(
    recording: Recording, config: PolicyConfig, cache: Path, choices: Choices, videos: OpenVideos | None = None
) -> Episode:
    """A recording with its recorded actions (contractor format). Raises ValueError if the two do not fit."""
    recorded = recording.load_actions()
    track = recorded.actions
    inputs = frames_of(recording, config.inputs, cache, videos)
    if abs(len(inputs) - len(track)) > 1:  # contractor recordings are known to differ by one
        raise ValueError(
            f"{recording.video}: {len(inputs)} frames at {config.rate} Hz but {len(track)} action records in "
            f"{recording.actions}; expected as many. Is the video cut, or recorded at another rate?"
        )
    player = str(recording.load_meta().get("player", "")) if recording.meta else ""
    count = min(len(inputs), len(track))
    copied = recording.to_copy(count)
    return episode_of(
        recording.name, player, inputs, track[:count], choices, copied=copied, hotbar=recorded.hotbar[:count]
    )


def labelled_episode(
    recording: Recording,
    folder: LabelFolder,
    config: PolicyConfig,
    cache: Path,
    choices: Choices,
    videos: OpenVideos | None = None,
) -> Episode:
    """A video with the labels of an inverse dynamics model (``vpt label``). Raises ValueError if the two do not fit."""
    labels, video = folder.read(recording.video), recording.video
    # The labels alone decide: what was recorded beside the video is not looked at, but for who is to be copied.
    inputs = frames_of(Recording(recording.video), config.inputs, cache, videos)
    if len(inputs) != len(labels):
        raise ValueError(
            f"{folder.path(video)}: {len(labels)} labels, but {video} has {len(inputs)} frames at {config.rate} Hz; expected "
            "as many. Label the video again."
        )
    sure = np.ones(len(labels), np.float32)
    if choices.doubts == "mask":
        sure = (~labels.low_confidence).astype(np.float32)
    elif choices.doubts == "weight":
        sure = np.minimum(labels.conf_buttons, labels.conf_camera)
    copied = recording.to_copy(len(labels))
    return episode_of(recording.name, "", inputs, labels.to_actions(), choices, sure, labels.cut, copied, labels.hotbar)


def load_episodes(
    recordings: list[Recording],
    labels: Path | None,
    config: PolicyConfig,
    cache: Path,
    choices: Choices,
    progress: Callable[[], None] = lambda: None,
    begin: float = 0.0,
    videos: OpenVideos | None = None,
) -> tuple[list[Episode], list[str]]:
    """Every episode that can be used, and a message for each that cannot.

    labels: a folder of `vpt label`, whose labels take the place of what was recorded; None for the recorded actions.
    begin: at which part of the recordings to begin with; processes that begin apart decode for each other.
    videos: decode frames while they are used, and keep none.
    """

    tables = None if labels is None else LabelFolder(labels)

    def load(recording: Recording) -> Episode | str:
        try:
            if tables is None:
                episode = recorded_episode(recording, config, cache, choices, videos)
            else:
                episode = labelled_episode(recording, tables, config, cache, choices, videos)
            if not episode.weight.any():
                raise ValueError(f"{recording.video}: no frame in it to learn from (nulls {choices.nulls})")
        except ValueError as error:
            return str(error)
        finally:
            progress()
        return replace(episode, video=recording.video)

    first = round(begin * len(recordings))
    loaded = beside_each_other(load, recordings[first:] + recordings[:first])
    loaded = loaded[len(loaded) - first :] + loaded[: len(loaded) - first]
    return [e for e in loaded if isinstance(e, Episode)], [e for e in loaded if isinstance(e, str)]
