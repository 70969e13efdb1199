"""A small recording with labels to look at and to judge: made, not played, so that every number is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from data.actions import BUTTONS, Action, CameraQuantizer
from data.contractor import ContractorWriter
from data.label_parts import write_labels
from data.labels import LabelTable
from data.video import VideoWriter


def actions(frames: int) -> list[Action]:
    """Forward and jump are held every other ten frames and every other seven; the view turns right, then left."""
    out = []
    for n in range(frames):
        held = {name for name, every in (("forward", 10), ("jump", 7)) if n // every % 2}
        out.append(Action(frozenset(held), (0.0, 3.0 if n // 20 % 2 else -3.0)))
    return out


def write_recording(folder: Path, name: str, frames: int, *, fps: int = 20, size: tuple[int, int] = (160, 90)) -> Path:
    """NAME.mp4, a picture that brightens from frame to frame, and NAME.jsonl; returns the video."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        VideoWriter(folder / f"{name}.mp4", size, fps=fps) as video,
        ContractorWriter(folder / f"{name}.jsonl") as records,
    ):
        for n, action in enumerate(actions(frames)):
            video.write(np.full((size[1], size[0], 3), 10 + 3 * (n % 80), np.uint8))
            records.write(action)
    return folder / f"{name}.mp4"


def labels_of(name: str, frames: int, *, late: int = 0, sure: float = 0.9) -> LabelTable:
    """Labels that say what was done, ``late`` frames late."""
    done = [Action()] * late + actions(frames)[: frames - late]
    held = np.array([[button in action.buttons for button in BUTTONS] for action in done])
    camera = np.array([action.camera for action in done])
    return LabelTable.from_predictions(
        f"{name}.mp4", first_frame=0, source_frame=np.arange(frames), pts=np.arange(frames), time_base=Fraction(1, 20),
        buttons=np.where(held, sure, 1 - sure), camera=camera, camera_bin=CameraQuantizer().discretize(camera),
        conf_camera=np.full(frames, sure), gui=np.zeros(frames, bool), resampled=np.zeros(frames, bool),
    )  # fmt: skip


def write_table(path: Path, *tables: LabelTable) -> Path:
    """One file, of one video or of several."""
    joined = {
        name: np.concatenate([getattr(table, name) for table in tables]) for name in LabelTable.__dataclass_fields__
    }
    write_labels(LabelTable(**joined), path)
    return path
