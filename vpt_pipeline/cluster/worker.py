"""A model worker: one copy of the model on one device, fed by several decoding processes.

Frames go from a decoding process to the model through a pipe on the same machine, never over the network or through
Ray's object store; a full pipe holds the decoder back, so memory is bounded by the number of processes. The model works
in one thread of its own, block by block, for whichever video has a block ready: while it computes, the others decode.
"""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import torch

from data.ahead import ahead
from data.frame_inputs import FrameInputs
from idm.blocks import Block, Ticks
from idm.checkpoint import load_model
from idm.labelling import BLOCKS_A_PART, RawLabels, predict_span
from idm.predict import RawPredictions, WindowPredictor
from prior.nn.allocator import keep_freed_memory
from vpt_pipeline.cluster.decode_link import DecodeProcess, DecoderDiedError, DecodeSettings, Event
from vpt_pipeline.cluster.decode_process import digest
from vpt_pipeline.cluster.wire import Arrays


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to begin. torch_threads: of the model, on a CPU. span_parts: parts of the label table (with
    windows of 64 frames, 51 s each) that one task covers; longer videos are shared; 0 never shares. ahead: decoding
    processes that start while the model is loaded."""

    model: str
    weights: str | None = None
    device: str = "cpu"
    bfloat16: bool = False
    torch_threads: int = 1
    backend: str = "pyav"
    span_parts: int = 8
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    ahead: int = 0


@dataclass(frozen=True)
class Task:
    """Label a video from its beginning (``span`` None), or the windows that begin at blocks first to stop of it.

    whole: do not share it, however long it is. stop None: to the end. plan: the arrays and the start of a TickSpan.
    """

    video: int
    url: str
    stamp: str
    whole: bool = False
    first: int = 0
    stop: int | None = None
    span: dict[str, Any] | None = None
    arrays: Arrays = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of a task. kind: "labelled"; "irregular", if the video must be read from its beginning by one worker;
    "failed", with the error. plan: how to share the rest of a long video, if it is one."""

    video: int
    first: int
    kind: Literal["labelled", "irregular", "failed"]
    error: str = ""
    labels: Arrays = field(default_factory=dict)
    start: int = 0
    time_base: tuple[int, int] = (1, 1)
    edges: dict[int, str] = field(default_factory=dict)
    """Digests of the inputs of the blocks where this span meets its neighbours, by block."""
    file: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] | None = None
    plan_arrays: Arrays = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    frames: int = 0
    model_s: float = 0.0
    wall_s: float = 0.0


class _OneThread:
    """The model as the predictor sees it, with every computation in one thread, whose time is counted."""

    def __init__(self, model: Any, threads: int) -> None:
        self._model, self.config, self.device = model, model.config, model.device
        self._thread = ThreadPoolExecutor(1, "model", torch.set_num_threads, (threads,))
        self.busy_s = 0.0

    def _run(self, function: Any, *arguments: torch.Tensor) -> Any:
        begun = time.monotonic()
        with torch.inference_mode():
            out = function(*arguments)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.busy_s += time.monotonic() - begun
        return out

    def frame_features(self, images: torch.Tensor, motion: torch.Tensor) -> Any:
        return self._thread.submit(self._run, self._model.frame_features, images, motion).result()

    def window_logprobs(self, features: torch.Tensor) -> Any:
        return self._thread.submit(self._run, self._model.window_logprobs, features).result()


class _Reading:
    """Takes what a decoding process says of a task, message by message."""

    def __init__(self, task: Task, outcome: Outcome, span: int) -> None:
        self.task, self.outcome, self._span = task, outcome, span
        self.stop = task.stop
        self._index = max(task.first - 1, 0)

    def take(self, event: Event) -> Block | None:
        """The block, if it is one; everything else is noted in the outcome."""
        kind, values, arrays = event
        outcome = self.outcome
        if kind == "block":
            inputs = FrameInputs(arrays["images"], arrays["motion"])
            if self._index in (self.task.first, self.stop) and self._index:
                outcome.edges[self._index] = digest(inputs)
            self._index += 1
            base = Fraction(*values["time_base"])
            return Block(inputs, Ticks(arrays["source_frame"], arrays["pts"], arrays["resampled"], arrays["cut"], base))
        if kind == "file":
            outcome.file = values
        elif kind == "plan":
            outcome.plan, outcome.plan_arrays, self.stop = values, arrays, self._span
        elif kind == "end":
            outcome.end, outcome.kind = values, "labelled"
        else:
            outcome.kind = "irregular" if kind == "irregular" else "failed"
            outcome.error = values["error"]
        return None


class LabelWorker:
    """``label`` may be called from several threads; each call has a decoding process of its own."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        if settings.device == "cpu":
            keep_freed_memory()
        self._idle = [DecodeProcess(settings.decode) for _ in range(settings.ahead)]
        weights = Path(settings.weights) if settings.weights else None
        torch.set_num_threads(settings.torch_threads)
        model, _ = load_model(settings.model, settings.device, weights=weights)
        model.for_inference(torch.bfloat16 if settings.bfloat16 else torch.float32)
        self._model = _OneThread(model, settings.torch_threads)
        self._block = WindowPredictor(model).block
        self._lock = threading.Lock()
        self.begun = time.monotonic()

    def stats(self) -> dict[str, float]:
        """Seconds since the start, and those of them in which the model computed."""
        return {"wall_s": time.monotonic() - self.begun, "model_s": self._model.busy_s}

    def label(self, task: Task) -> Outcome:
        """Never raises for what a video does: the outcome says it."""
        outcome = Outcome(task.video, task.first, "failed")
        begun = time.monotonic()
        try:
            process = self._process()
            try:
                self._label(task, process, outcome)
            finally:
                self._give_back(process)
        except DecoderDiedError as error:
            outcome.kind, outcome.error = "failed", str(error)
        outcome.wall_s = time.monotonic() - begun
        return outcome

    def _label(self, task: Task, process: DecodeProcess, outcome: Outcome) -> None:
        asked: dict[str, Any] = {
            "url": task.url,
            "stamp": task.stamp,
            "config": self._model.config.to_dict(),
            "block": self._block,
            "backend": self.settings.backend,
        }
        span = self.settings.span_parts * BLOCKS_A_PART
        if task.span is not None:
            asked["span"] = task.span
        else:
            asked["plan_ticks"] = 0 if task.whole else ticks_needed(span, self._block, self._model.config.halo)
        reading = _Reading(task, outcome, span)
        pieces: list[RawLabels] = []
        with closing(ahead(process.ask(asked, task.arrays))) as events:
            blocks = (block for event in events if (block := reading.take(event)) is not None)
            first_block = next(blocks, None)  # the plan comes before it, and says where this span stops
            if first_block is not None:
                stream = itertools.chain([first_block], blocks)
                predictor = WindowPredictor(self._model)  # type: ignore[arg-type]
                pieces = list(predict_span(predictor, stream, task.first, reading.stop))
            for event in events:  # what the last window did not need, and how it ended
                reading.take(event)
        if outcome.kind != "labelled":
            return
        if not pieces:
            outcome.kind, outcome.error = "failed", "no frame could be decoded; get the file again"
            return
        raw = RawLabels.join(pieces)
        outcome.labels, outcome.start, outcome.frames = to_arrays(raw), raw.predictions.start, len(raw)
        outcome.time_base = (raw.ticks.time_base.numerator, raw.ticks.time_base.denominator)

    def _process(self) -> DecodeProcess:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if not process.used_up:
                    return process
                process.close()
        return DecodeProcess(self.settings.decode)

    def _give_back(self, process: DecodeProcess) -> None:
        with self._lock:
            if not process.used_up:
                self._idle.append(process)
                return
        process.close()

    def close(self) -> None:
        with self._lock:
            for process in self._idle:
                process.close()
            self._idle.clear()


def ticks_needed(stop_block: int, block: int, halo: int) -> int:
    """How many ticks from the beginning the windows before block ``stop_block`` need: that block and its neighbours."""
    return (stop_block + 1) * block + halo + 1 if stop_block else 0


def to_arrays(raw: RawLabels) -> Arrays:
    predictions, ticks = raw.predictions, raw.ticks
    return {
        "odds": predictions.odds,
        "camera": predictions.camera,
        "gui": predictions.gui,
        "slot": predictions.slot,
        "source_frame": ticks.source_frame,
        "pts": ticks.pts,
        "resampled": ticks.resampled,
        "cut": ticks.cut,
    }


def from_arrays(arrays: Arrays, start: int, time_base: tuple[int, int]) -> RawLabels:
    predictions = RawPredictions(start, arrays["odds"], arrays["camera"], arrays["gui"], arrays["slot"])
    ticks = Ticks(arrays["source_frame"], arrays["pts"], arrays["resampled"], arrays["cut"], Fraction(*time_base))
    return RawLabels(predictions, ticks)
