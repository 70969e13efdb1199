"""Label one video: decode, resample, predict, and write a label table in parts, so that a stopped run loses a part at most.

A part is the work of a fixed number of windows. Which windows a part holds, and every number in it, depend on the video
and the model alone; so a run that was killed and started again ends with the same bytes as one that was not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.labels import LabelRows, LabelWriter
from data.resample import TickFrame, at_rate
from data.video import VideoReader
from idm.calibration import Calibration
from idm.inputs import InputMaker
from idm.model import QUANTIZER, InverseDynamicsModel
from idm.predict import RawPredictions, WindowPredictor

BLOCKS_A_PART = 32
"""Half-windows in a part: 32 x 64 frames at 20 Hz are 102 s of video."""


@dataclass(frozen=True)
class Labelled:
    """What came of a video: frames at the model's rate, whether they were resampled, and what was wrong with the file."""

    frames: int
    source_frames: int
    resampled: bool
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Tick:
    source_index: int
    pts: int
    numerator: int
    denominator: int
    resampled: bool


class _Decoder:
    """Passes frames on to the model and keeps what the table needs to know of each."""

    def __init__(self, reader: VideoReader, rate: int, on_frame: Callable[[], None]) -> None:
        self._frames = at_rate(reader, rate)
        self._on_frame = on_frame
        self.ticks: deque[_Tick] = deque()
        self.count, self.last_source, self.resampled = 0, -1, False

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for frame in self._frames:
            self._note(frame)
            yield frame.rgb

    def _note(self, frame: TickFrame) -> None:
        self.count += 1
        self.last_source = max(self.last_source, frame.source_index)
        self.resampled |= frame.resampled
        base = frame.time_base
        self.ticks.append(_Tick(frame.source_index, frame.pts, base.numerator, base.denominator, frame.resampled))
        self._on_frame()


def _rows(raw: RawPredictions, ticks: list[_Tick], calibration: Calibration, doubt: float) -> LabelRows:
    """One part's predictions as rows of the table."""
    held = calibration.probabilities(raw.odds)
    camera = calibration.camera(raw.camera)
    bins = camera.argmax(-1)
    conf_buttons = np.maximum(held, 1 - held).min(1)
    conf_camera = camera.max(-1).min(1)
    return LabelRows(
        frame=np.arange(raw.start, raw.start + len(raw), dtype=np.int32),
        source_frame=np.array([t.source_index for t in ticks], np.int32),
        pts=np.array([t.pts for t in ticks], np.int64),
        time_base=np.array([(t.numerator, t.denominator) for t in ticks], np.int64).reshape(-1, 2),
        p=held.astype(np.float32),
        camera=(camera @ QUANTIZER.centres).astype(np.float32),
        camera_bin=bins.astype(np.int8),
        conf_buttons=conf_buttons.astype(np.float32),
        conf_camera=conf_camera.astype(np.float32),
        null=(held <= 0.5).all(1) & (bins == QUANTIZER.null_bin).all(1),
        gui=raw.gui > 0 if not np.isnan(raw.gui).any() else None,
        resampled=np.array([t.resampled for t in ticks], bool),
        low_confidence=conf_buttons < doubt,
    )


def _in_parts(pieces: Iterator[RawPredictions], first_block: int, block: int) -> Iterator[tuple[int, list[RawPredictions]]]:
    """Group predictions by the part to which the first block of their window belongs."""
    part, held = first_block // BLOCKS_A_PART, list[RawPredictions]()
    for piece in pieces:
        window = max(piece.start - block // 2, 0) // block
        if window // BLOCKS_A_PART != part:
            yield part, held
            part, held = window // BLOCKS_A_PART, []
        held.append(piece)
    if held:
        yield part, held


def label_video(
    video: Path,
    writer: LabelWriter,
    model: InverseDynamicsModel,
    calibration: Calibration,
    doubt: float = 0.7,
    on_frame: Callable[[], None] = lambda: None,
    threads: int = 2,
) -> Labelled:
    """Label a video into ``writer``, going on after the parts that are there already.

    Memory does not grow with the video's length. Frames whose least certain button is less certain than ``doubt`` are
    flagged. Raises ValueError (VideoError) naming the file if no frame at all can be decoded; damage further on is
    reported in the result's ``problems`` and what could be decoded is labelled.
    """
    predictor = WindowPredictor(model)
    maker = InputMaker(model.config, threads=threads, block=predictor.block)
    done = writer.parts_done()
    first_block = done * BLOCKS_A_PART
    with VideoReader(video) as reader:
        decoder = _Decoder(reader, model.config.rate, on_frame)
        # One block before the first is needed for its last frames, the first block's neighbours.
        blocks = maker.stream(decoder, skip=max(first_block - 1, 0))
        begun = first_block * predictor.block + (predictor.block // 2 if first_block else 0)
        dropped = 0
        for part, pieces in _in_parts(predictor.predict(blocks, first_block), first_block, predictor.block):
            raw = RawPredictions.join(pieces)
            while dropped < begun:
                decoder.ticks.popleft()
                dropped += 1
            ticks = [decoder.ticks.popleft() for _ in range(len(raw))]
            writer.write_part(part, _rows(raw, ticks, calibration, doubt))
        problems = tuple(reader.problems)
    if not decoder.count:
        raise ValueError(f"{video}: no frame could be decoded ({'; '.join(problems) or 'the file holds none'})")
    return Labelled(decoder.count, decoder.last_source + 1, decoder.resampled, problems)
