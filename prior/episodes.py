"""Episodes to clone: frames at the policy's size, memory-mapped, beside joint actions and what each frame counts.

Decoding and scaling are done the first time a video is used and kept under a name made from the file's content and the
size, so that a changed file is never mistaken for an old one. Actions are small and read anew each time: other labels or
other choices need no decoding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data.actions import ActionTrack
from data.contractor_frames import agent_frame
from data.contractor_record import FIELD_ERRORS, Record, read_records
from data.cursor import Cursor
from data.files import folder_once, sha256_file
from data.joint_actions import JointActions
from data.labels import LabelTable
from data.recording import Recording
from data.resample import TickFrame, at_rate
from data.video import VideoReader
from prior.config import PolicyConfig

VERSION = 1
"""Raise when a frame is made in another way."""

Nulls = Literal["drop", "mask", "keep"]
"""What to do with frames in which nothing was done. ``drop``: leave them out, so that memory does not see them, either (VPT's
way: cloned with them, an agent mostly stands still). ``mask``: seen and remembered, but not learnt. ``keep``: learnt."""

Doubts = Literal["keep", "mask", "weight"]
"""What to do with doubtful labels. ``keep``: learn them as any other. ``mask``: do not learn rows flagged low_confidence.
``weight``: let each row count as much as it is sure (the lesser of both confidences)."""


@dataclass(frozen=True)
class Choices:
    """How actions become what is cloned."""

    nulls: Nulls = "drop"
    doubts: Doubts = "keep"


@dataclass(frozen=True, eq=False)
class Episode:
    """T frames of one stretch of play.

    images: uint8 (N, H, W, 3), memory-mapped, of which ``rows`` int64 (T,) are the episode's frames. buttons, camera: int64
    (T,), joint numbers. weight: float32 (T,), how much each counts in the loss. first: bool (T,), where something new begins
    and what was before is to be forgotten: at the start, and at cuts.
    """

    name: str
    player: str
    images: NDArray[np.uint8]
    rows: NDArray[np.int64]
    buttons: NDArray[np.int64]
    camera: NDArray[np.int64]
    weight: NDArray[np.float32]
    first: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)


def episode_of(
    name: str,
    player: str,
    images: NDArray[np.uint8],
    track: ActionTrack,
    choices: Choices,
    sure: NDArray[np.float32] | None = None,
    cut: NDArray[np.bool_] | None = None,
) -> Episode:
    """An episode of frames and the actions taken in them. sure: float32 (N,), weights of the frames; cut: bool (N,)."""
    actions = JointActions()
    buttons, camera = actions.from_track(track)
    weight = np.where(track.valid, np.float32(1) if sure is None else sure, np.float32(0)).astype(np.float32)
    null = actions.is_null(buttons, camera) & track.valid
    rows = np.arange(len(track))
    first = np.zeros(len(track), bool) if cut is None else cut.copy()
    if choices.nulls == "mask":
        weight[null] = 0
    elif choices.nulls == "drop":
        rows = rows[~null]
        # A cut in a dropped frame shows in the next one that is kept.
        first = np.diff(np.cumsum(first)[rows], prepend=0) > 0
    first[:1] = True
    return Episode(name, player, images, rows, buttons[rows], camera[rows], weight[rows], first)


# -- frames ------------------------------------------------------------------------------------------------------------


def frames_of(recording: Recording, config: PolicyConfig, cache: Path) -> NDArray[np.uint8]:
    """The recording's frames at ``config.rate`` and size, uint8 (N, H, W, 3), made now if ``cache`` has them not.

    Where the records say that a GUI was open, the cursor is drawn in: contractors' screens were recorded without it.
    Raises ValueError if no frame can be decoded.
    """
    content = sha256_file(recording.video) + (sha256_file(recording.actions) if recording.actions else "")
    size = "x".join(map(str, config.image_size))
    key = hashlib.sha256(f"{content} policy v{VERSION} {size} {config.rate}".encode()).hexdigest()[:24]
    folder = folder_once(cache / key, lambda fresh: _write(recording, config, fresh))
    frames = json.loads((folder / "about.json").read_text(encoding="utf-8"))["frames"]
    return np.memmap(folder / "frames.bin", np.uint8, "r", shape=(frames, *config.image_size, 3))


def _write(recording: Recording, config: PolicyConfig, folder: Path) -> None:
    height, width = config.image_size
    count = 0
    with VideoReader(recording.video) as reader, (folder / "frames.bin").open("wb") as out:
        for tick in _with_cursor(recording, at_rate(reader, config.rate)):
            out.write(agent_frame(tick, (width, height)).tobytes())
            count += 1
        problems = list(reader.problems)
    if not count:
        raise ValueError(
            f"{recording.video}: no frame could be decoded ({'; '.join(problems) or 'no reason given'}); get the file again"
        )
    about = {"video": str(recording.video), "frames": count, "problems": problems}
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _with_cursor(recording: Recording, ticks: Iterator[TickFrame]) -> Iterator[NDArray[np.uint8]]:
    records: list[Record | None] = read_records(recording.actions)[0] if recording.actions else []
    if "game" in recording.load_meta():  # from `vpt record`, whose frames show the cursor, as those of its games do
        records = []
    cursor = Cursor()
    for row, tick in enumerate(ticks):
        record, rgb = records[row] if row < len(records) else None, tick.rgb
        try:
            if record is not None and record.gui_open:
                rgb = rgb.copy()
                cursor.draw(rgb, *cursor.at(*record.cursor, len(rgb), wraps=False), wraps=False)
        except FIELD_ERRORS:
            pass  # a broken record, which the actions report
        yield rgb


# -- sources -----------------------------------------------------------------------------------------------------------


def recorded_episode(recording: Recording, config: PolicyConfig, cache: Path, choices: Choices) -> Episode:
    """A recording with its recorded actions (contractor format). Raises ValueError if the two do not fit."""
    track = recording.load_actions().actions
    images = frames_of(recording, config, cache)
    if abs(len(images) - len(track)) > 1:  # contractor recordings are known to differ by one
        raise ValueError(
            f"{recording.video}: {len(images)} frames at {config.rate} Hz but {len(track)} action records in "
            f"{recording.actions}; expected as many. Is the video cut, or recorded at another rate?"
        )
    player = str(recording.load_meta().get("player", "")) if recording.meta else ""
    count = min(len(images), len(track))
    return episode_of(recording.name, player, images, track[:count], choices)


def labelled_episode(recording: Recording, table: Path, config: PolicyConfig, cache: Path, choices: Choices) -> Episode:
    """A video with the labels of an inverse dynamics model (``vpt label``). Raises ValueError if the two do not fit."""
    labels = LabelTable.read(table)
    # The labels alone decide: what was recorded beside the video, if anything was, is not looked at.
    images = frames_of(Recording(recording.video), config, cache)
    if len(images) != len(labels):
        raise ValueError(
            f"{table}: {len(labels)} labels, but {recording.video} has {len(images)} frames at {config.rate} Hz; expected as "
            "many. Label the video again."
        )
    sure = np.ones(len(labels), np.float32)
    if choices.doubts == "mask":
        sure = (~labels.low_confidence).astype(np.float32)
    elif choices.doubts == "weight":
        sure = np.minimum(labels.conf_buttons, labels.conf_camera)
    return episode_of(recording.name, "", images, labels.to_actions(), choices, sure, labels.cut)


def load_episodes(
    recordings: list[Recording],
    labels: Path | None,
    config: PolicyConfig,
    cache: Path,
    choices: Choices,
    progress: Callable[[], None] = lambda: None,
) -> tuple[list[Episode], list[str]]:
    """Every episode that can be used, and a message for each that cannot.

    labels: a folder of NAME.parquet, whose labels take the place of what was recorded; None for the recorded actions.
    """
    usable: list[Episode] = []
    refused: list[str] = []
    for recording in recordings:
        try:
            if labels is None:
                episode = recorded_episode(recording, config, cache, choices)
            else:
                table = labels / f"{recording.name}.parquet"
                if not table.is_file():
                    raise ValueError(f"{recording.video}: no labels in {table}; `vpt label` writes them")
                episode = labelled_episode(recording, table, config, cache, choices)
            if not episode.weight.any():
                raise ValueError(f"{recording.video}: no frame in it to learn from (nulls {choices.nulls})")
            usable.append(episode)
        except ValueError as error:
            refused.append(str(error))
        progress()
    return usable, refused
