"""Label one video: decode, resample, predict, and write a label table in parts, so that a stopped run loses a part at most.

A part is the work of a fixed number of windows. Which windows a part holds, and every number in it, depend on the video
and the model alone; so a run that was killed and started again ends with the same bytes as one that was not, and so do
several runs that share a video among them (:func:`predict_span`, then :class:`PartWriter` over the spans in order).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data.actions import UNKNOWN_SLOT
from data.ahead import ahead
from data.frame_inputs import FrameInputs, InputMaker
from data.label_parts import find_parts, frames_done, write_part
from data.labels import LabelTable
from data.readers import open_reader
from data.resample import ResampleReport, at_rate
from idm.blocks import Block, Ticks, input_blocks
from idm.calibration import Calibration, decode_held
from idm.model import QUANTIZER, InverseDynamicsModel
from idm.predict import RawPredictions, WindowPredictor
from idm.threads import model_threads
from prior.nn.threads import torch_threads

BLOCKS_A_PART = 32
"""Half-windows in a part: with windows of 64 frames, 51 s of video."""


@dataclass(frozen=True)
class Labelled:
    """What came of a video: frames at the model's rate, what resampling did, and what was wrong with the file."""

    frames: int
    resampling: ResampleReport
    problems: tuple[str, ...]


@dataclass(frozen=True)
class RawLabels:
    """What a model says of consecutive frames, before calibration, and where the frames come from."""

    predictions: RawPredictions
    ticks: Ticks

    def __len__(self) -> int:
        return len(self.ticks)

    def __getitem__(self, span: slice) -> RawLabels:
        return RawLabels(self.predictions[span], self.ticks[span])

    @classmethod
    def join(cls, parts: list[RawLabels]) -> RawLabels:
        return cls(RawPredictions.join([p.predictions for p in parts]), Ticks.join([p.ticks for p in parts]))


def span_start(first_block: int, block: int) -> int:
    """The first frame whose label comes from the windows that begin at ``first_block`` or later."""
    return first_block * block + block // 2 if first_block else 0


def predict_span(
    predictor: WindowPredictor, blocks: Iterable[Block], first: int = 0, stop: int | None = None
) -> Iterator[RawLabels]:
    """Raw labels of the windows that begin at the blocks ``first`` to ``stop`` (exclusive; None: to the video's end).

    blocks: in order from block ``max(first - 1, 0)`` on; with a ``stop``, that block and the start of the next one are
    needed, too. Every piece is half a window long, the first and the last may be longer.
    """
    begin = max(first - 1, 0)
    waiting: list[Ticks] = []

    def inputs() -> Iterator[FrameInputs]:
        for block in blocks:
            waiting.append(block.ticks)
            yield block.inputs

    at = begin * predictor.block
    for piece in predictor.predict(inputs(), begin, first, stop):
        ticks = Ticks.join(waiting)[piece.start - at :]
        yield RawLabels(piece, ticks[: len(piece)])
        at, waiting[:] = piece.start + len(piece), [ticks[len(piece) :]]


def in_parts(pieces: Iterable[RawLabels], block: int) -> Iterator[RawLabels]:
    """Join and cut raw labels, as long as they please but in order, into the parts that label tables are written in.

    A video's last window is kept to its end, so up to half a block left over at the end belong to the part before.
    """
    held: list[RawLabels] = []
    full: RawLabels | None = None
    for piece in pieces:
        while len(piece):
            start = piece.predictions.start
            end = span_start((max(start - block // 2, 0) // (BLOCKS_A_PART * block) + 1) * BLOCKS_A_PART, block)
            taken, piece = piece[: end - start], piece[end - start :]
            held.append(taken)
            if full is not None and sum(map(len, held)) > block // 2:
                yield full
                full = None
            if start + len(taken) == end:
                full, held = RawLabels.join(held), []
    rest = held if full is None else [full, *held]
    if rest:
        yield RawLabels.join(rest)


class PartWriter:
    """Raw labels of a video, part by part in order -> the parts of its label table.

    before: bool (20,), the keys held in the frame before the first part, where that is not the video's first.
    """

    def __init__(
        self, name: str, folder: Path, calibration: Calibration, doubt: float, before: np.ndarray | None = None
    ) -> None:
        self.name, self.folder, self.calibration, self.doubt = name, folder, calibration, doubt
        self._before = before

    def write(self, part: RawLabels) -> LabelTable:
        raw, ticks = part.predictions, part.ticks
        camera, pressed = self.calibration.camera(raw.camera), self.calibration.probabilities(raw.odds)
        held = decode_held(pressed, np.asarray(self.calibration.switch_price), self._before)
        self._before = held[-1]
        rows = LabelTable.from_predictions(
            self.name,
            first_frame=raw.start,
            source_frame=ticks.source_frame,
            pts=ticks.pts,
            time_base=ticks.time_base,
            buttons=pressed,
            held=held,
            camera=camera @ QUANTIZER.centres,
            camera_bin=camera.argmax(-1),
            conf_camera=camera.max(-1).min(1),
            gui=np.nan_to_num(raw.gui, nan=-1.0) > 0,
            resampled=ticks.resampled,
            cut=ticks.cut,
            hotbar=_slots(raw.slot),
            low_confidence_below=self.doubt,
        )
        write_part(rows, self.folder)
        return rows


def _slots(logprobs_T9: NDArray[np.float32]) -> NDArray[np.int64]:
    """The slots that are likelier than all others together; -1 where none is, and where the model does not say."""
    likeliest = np.nan_to_num(logprobs_T9, nan=-np.inf)
    return np.where(likeliest.max(1) > math.log(0.5), likeliest.argmax(1), UNKNOWN_SLOT)


def _finished_parts(folder: Path, block: int) -> int:
    """The first block that no finished part covers. Parts beyond a gap are removed and made again."""
    parts = find_parts(folder)
    # Every part but the last ends in the middle of a block, where its last window's kept frames end.
    count = max(frames_done(parts) - block // 2, 0) // (BLOCKS_A_PART * block)
    first = count * BLOCKS_A_PART
    for part in parts:
        if int(part.name.split("-")[1]) >= span_start(first, block):
            part.unlink()
    return first


def label_video(
    video: Path,
    name: str,
    parts: Path,
    model: InverseDynamicsModel,
    calibration: Calibration,
    doubt: float = 0.6,
    on_frame: Callable[[], None] = lambda: None,
    threads: int = 2,
    backend: str = "pyav",
) -> Labelled:
    """Label a video into the folder ``parts`` under the table's ``name``, going on after the parts that are there.

    Memory does not grow with the video's length. Rows less certain than ``doubt`` are flagged. Raises ValueError
    (VideoError) naming the file if no frame at all can be decoded; damage further on is reported in the result's
    ``problems`` and what could be decoded is labelled.
    """
    predictor = WindowPredictor(model)
    maker = InputMaker(model.config.inputs, threads=threads, block=predictor.block)
    first = _finished_parts(parts, predictor.block)
    finished = find_parts(parts)
    before = LabelTable.read(finished[-1]).held[-1] if finished else None
    writer, report = PartWriter(name, parts, calibration, doubt, before), ResampleReport()
    with open_reader(video, backend) as reader:
        frames = at_rate(reader, model.config.rate, report=report)
        # One block before the first is needed for its last frames, the first block's neighbours.
        for _ in itertools.islice(frames, max(first - 1, 0) * predictor.block):
            on_frame()
        cores = model_threads(model.config, torch.get_num_threads())
        with torch_threads(cores), closing(ahead(input_blocks(frames, maker, on_frame))) as blocks:
            for part in in_parts(predict_span(predictor, blocks, first), predictor.block):
                writer.write(part)
        problems = tuple(reader.problems)
    if not report.ticks:
        raise ValueError(f"{video}: no frame could be decoded ({'; '.join(problems) or 'the file holds none'})")
    return Labelled(report.ticks, report, problems)
