"""Frames with their actions, as VPT's data loader gives them to behavioural cloning: scaled, with the cursor drawn in.

    for sample in RecordedSamples.of_video("play.mp4"):
        buttons, camera = JointActions().from_env(sample.action)

What the published loader does is all here, worker processes and queues aside; what is mended is up to the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from data.contractor_record import FIELD_ERRORS, AnyRecord, BrokenRecordError, read_any
from data.contractor_rules import MENDED, ContractorRules, gui_scale
from data.contractor_steps import Interpreter, Step
from data.cursor import Cursor
from data.video import VideoReader

AGENT_SIZE = (128, 128)
"""Width and height of what VPT's models see."""


class Sample(NamedTuple):
    """What the player saw and did.

    row: of the record and the video frame, from 0. frame: uint8 RGB (128, 128, 3). action: MineRL's dictionary, an int for
    each of 23 keys and ``camera`` (2,) in degrees, float64, or int64 where the rules cut fractions off.
    """

    row: int
    frame: NDArray[np.uint8]
    action: dict[str, Any]


class RecordedSamples:
    """Iterate once over a recording's samples; null actions are passed over::

        samples = RecordedSamples("play.jsonl", frames)
        for row, frame, action in samples:
            ...
        print(samples.problems)

    records: a contractor file. frames: uint8 (height, width, 3) each, ``channels`` saying in which order; they are left
    as they are. cursor: what is drawn where a GUI is open. keep_null: also give the samples of null actions.
    recorder_version: such as "6.13"; None to take it from the path.

    problems: a line each, complete once iteration has ended. Under rules by which a broken record ends the recording,
    iteration ends in BrokenRecordError, a ValueError that names file and line; a line that is not JSON raises it at once.
    """

    def __init__(
        self,
        records: Path | str,
        frames: Iterable[NDArray[np.uint8]],
        rules: ContractorRules = MENDED,
        *,
        channels: Literal["rgb", "bgr"] = "rgb",
        cursor: Cursor | None = None,
        size: tuple[int, int] = AGENT_SIZE,
        keep_null: bool = False,
        recorder_version: str | None = None,
    ) -> None:
        self.path = Path(records)
        self.rules = rules
        self.records, problems = read_any(self.path, rules)
        self.problems = list(problems)
        self._frames = frames
        self._video: Path | None = None
        self._bgr = channels == "bgr"
        self._cursor = cursor or Cursor()
        self._size = size
        self._keep_null = keep_null
        self._gui_scale = gui_scale(self.path, rules, recorder_version)

    @classmethod
    def of_video(
        cls, video: Path | str, records: Path | str | None = None, rules: ContractorRules = MENDED, **options: Any
    ) -> RecordedSamples:
        """The samples of a video and its records, by default ``NAME.jsonl`` beside ``NAME.mp4``; options as above.

        Raises VideoError, a ValueError, when iterated over if not one frame can be decoded.
        """
        samples = cls(records or Path(video).with_suffix(".jsonl"), (), rules, **options)
        samples._video = Path(video)
        return samples

    def __iter__(self) -> Iterator[Sample]:
        if self._video is None:
            yield from self._samples(iter(self._frames))
            return
        with VideoReader(self._video) as reader:
            try:
                yield from self._samples(frame.rgb for frame in reader)
            finally:
                self.problems += [f"{self._video}: {problem}" for problem in reader.problems]
                if reader.damaged:
                    self.problems.append(
                        f"{self._video}: frames may be missing; from there on each comes with an earlier frame's action"
                    )

    def _samples(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Sample]:
        interpreter = Interpreter(self.rules, self._gui_scale)
        for row, record in enumerate(self.records):
            step = None
            if record is None:
                interpreter.skip()
            else:
                try:
                    step = interpreter.step(record)
                except FIELD_ERRORS as error:
                    raise BrokenRecordError(self.path, row, error) from error
            frame = next(frames, None)  # always, so that frames and records keep in step
            if frame is None:
                self._note_missing(row)
                if self.rules.compare_lengths:
                    return
                continue
            if record is not None and step is not None and (self._keep_null or not step.null):
                yield self._sample(row, record, step, frame)
        if self.rules.compare_lengths and next(frames, None) is not None:
            self.problems.append(
                f"{self.path}: {len(self.records)} records, but the video goes on; frames without a record are left out"
            )

    def _note_missing(self, row: int) -> None:
        if self.rules.compare_lengths:
            self.problems.append(
                f"{self.path}: {len(self.records)} records, but the video has {row} frames; the last records are left out"
            )
        else:
            self.problems.append(f"{self.path}:{row + 1}: no video frame for this record")

    def _sample(self, row: int, record: AnyRecord, step: Step, frame: NDArray[np.uint8]) -> Sample:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(
                f"{self.path}: frame {row} is {frame.dtype} of shape {frame.shape}; expected uint8 (height, width, 3)"
            )
        rgb = frame[..., ::-1] if self._bgr else frame
        try:
            if record.gui_open:
                rgb = rgb.copy()
                x, y = self._cursor.at(*record.cursor, len(rgb), wraps=self.rules.cursor_wraps)
                self._cursor.draw(rgb, x, y, wraps=self.rules.cursor_wraps)
        except FIELD_ERRORS as error:
            raise BrokenRecordError(self.path, row, error) from error
        return Sample(row, agent_frame(rgb, self._size), step.to_env())


def agent_frame(rgb: NDArray[np.uint8], size: tuple[int, int] = AGENT_SIZE) -> NDArray[np.uint8]:
    """A frame of any size, uint8 (height, width, 3), at the models' (width, height), scaled as VPT's agent does it."""
    return np.asarray(cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_LINEAR), np.uint8)
