"""Label one video: decode, resample, predict, and write a label table in parts, so that a stopped run loses a part at most.

A part is the work of a fixed number of windows. Which windows a part holds, and every number in it, depend on the video
and the model alone; so a run that was killed and started again ends with the same bytes as one that was not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.label_parts import find_parts, frames_done, write_part
from data.labels import LabelTable
from data.resample import ResampleReport, TickFrame, at_rate
from data.video import VideoReader
from idm.ahead import ahead
from idm.calibration import Calibration, decode_held
from idm.inputs import InputMaker
from idm.model import QUANTIZER, InverseDynamicsModel
from idm.predict import RawPredictions, WindowPredictor

BLOCKS_A_PART = 32
"""Half-windows in a part: with windows of 64 frames, 51 s of video."""


@dataclass(frozen=True)
class Labelled:
    """What came of a video: frames at the model's rate, what resampling did, and what was wrong with the file."""

    frames: int
    resampling: ResampleReport
    problems: tuple[str, ...]


class _Decoder:
    """Passes frames on to the model and keeps what the table needs to know of each."""

    def __init__(self, reader: VideoReader, rate: int, on_frame: Callable[[], None]) -> None:
        self.report = ResampleReport()
        self._frames, self._on_frame = at_rate(reader, rate, report=self.report), on_frame
        self.ticks: deque[tuple[int, int, bool]] = deque()
        self.time_base = Fraction(1)
        self.count = 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for frame in self._frames:
            self._note(frame)
            yield frame.rgb

    def _note(self, frame: TickFrame) -> None:
        self.count += 1
        self.time_base = frame.time_base
        self.ticks.append((frame.source_index, frame.pts, frame.resampled))
        self._on_frame()


def _in_parts(pieces: Iterator[RawPredictions], first_block: int, block: int) -> Iterator[RawPredictions]:
    """Join predictions by the part to which the first block of their window belongs."""
    part, held = first_block // BLOCKS_A_PART, list[RawPredictions]()
    for piece in pieces:
        window = max(piece.start - block // 2, 0) // block
        if window // BLOCKS_A_PART != part:
            yield RawPredictions.join(held)
            part, held = window // BLOCKS_A_PART, []
        held.append(piece)
    if held:
        yield RawPredictions.join(held)


def _finished_parts(folder: Path, block: int) -> tuple[int, int]:
    """(first block, first frame) that no finished part covers. Parts beyond a gap are removed and made again."""
    parts = find_parts(folder)
    done = frames_done(parts)
    whole = BLOCKS_A_PART * block
    # Every part but the last ends in the middle of a block, where its last window's kept frames end.
    count = max(done - block // 2, 0) // whole
    begin = count * whole + block // 2 if count else 0
    for part in parts:
        if int(part.name.split("-")[1]) >= begin:
            part.unlink()
    return count * BLOCKS_A_PART, begin


def label_video(
    video: Path,
    name: str,
    parts: Path,
    model: InverseDynamicsModel,
    calibration: Calibration,
    doubt: float = 0.6,
    on_frame: Callable[[], None] = lambda: None,
    threads: int = 2,
) -> Labelled:
    """Label a video into the folder ``parts`` under the table's ``name``, going on after the parts that are there.

    Memory does not grow with the video's length. Rows less certain than ``doubt`` are flagged. Raises ValueError
    (VideoError) naming the file if no frame at all can be decoded; damage further on is reported in the result's
    ``problems`` and what could be decoded is labelled.
    """
    predictor = WindowPredictor(model)
    maker = InputMaker(model.config, threads=threads, block=predictor.block)
    first_block, passed = _finished_parts(parts, predictor.block)
    finished = find_parts(parts)
    before = LabelTable.read(finished[-1]).held[-1] if finished else None
    with VideoReader(video) as reader:
        decoder = _Decoder(reader, model.config.rate, on_frame)
        # One block before the first is needed for its last frames, the first block's neighbours.
        with closing(ahead(maker.stream(decoder, skip=max(first_block - 1, 0)))) as blocks:
            for raw in _in_parts(predictor.predict(blocks, first_block), first_block, predictor.block):
                for _ in range(passed):
                    decoder.ticks.popleft()
                passed = 0
                source, pts, resampled = zip(*(decoder.ticks.popleft() for _ in range(len(raw))), strict=True)
                camera, pressed = calibration.camera(raw.camera), calibration.probabilities(raw.odds)
                held = decode_held(pressed, np.asarray(calibration.switch_price), before)
                before = held[-1]
                rows = LabelTable.from_predictions(
                    name,
                    first_frame=raw.start,
                    source_frame=source,
                    pts=pts,
                    time_base=decoder.time_base,
                    buttons=pressed,
                    held=held,
                    camera=camera @ QUANTIZER.centres,
                    camera_bin=camera.argmax(-1),
                    conf_camera=camera.max(-1).min(1),
                    gui=np.nan_to_num(raw.gui, nan=-1.0) > 0,
                    resampled=resampled,
                    low_confidence_below=doubt,
                )
                write_part(rows, parts)
        problems = tuple(reader.problems)
    if not decoder.count:
        raise ValueError(f"{video}: no frame could be decoded ({'; '.join(problems) or 'the file holds none'})")
    return Labelled(decoder.count, decoder.report, problems)
