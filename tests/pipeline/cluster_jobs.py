"""Labelling jobs small enough for tests: a debug model, made-up videos, and workers in this very process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import torch

from data.files import sha256_file
from data.video import VideoWriter
from idm.calibration import Calibration
from idm.checkpoint import model_hash, save_model
from idm.config import preset
from idm.model import InverseDynamicsModel
from tests.idm.play import turning_world
from vpt_pipeline.cluster.decode_link import DecodeSettings
from vpt_pipeline.cluster.job import Job, JobSettings
from vpt_pipeline.cluster.worker import LabelWorker, Outcome, Task, WorkerSettings

CALIBRATION = Calibration(switch_price=(1.0,) * 20)
"""With a price, keys are decoded over time: the state at the end of a part matters to the next."""

POISON = "tests.pipeline.poison:open_reader"


def make_model(folder: Path) -> Path:
    torch.manual_seed(0)
    save_model(folder, InverseDynamicsModel(preset("debug")), CALIBRATION)
    return folder


def make_video(path: Path, frames: int, seed: int = 0, rate: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures, _ = turning_world(frames, seed, (72, 128))
    with VideoWriter(path, (128, 72), rate) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def encode(
    path: Path, frames: int, codec: str, rate: int = 20, size: tuple[int, int] = (128, 72), seed: int = 0
) -> Path:
    """A video of another codec, made with PyAV directly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures, _ = turning_world(frames, seed, (size[1], size[0]))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def sums(files: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of files, by name: where bytes differ, pytest looks for minutes for how."""
    return {path.name: sha256_file(path) for path in files}


def make_job(folder: Path, model: Path, span_parts: int = 1, backend: str = "pyav", out: str | None = None) -> Job:
    config = preset("debug")
    settings = JobSettings(
        model_hash(model), 0.6, config.rate, config.window // 2, config.halo, span_parts, backend, "cpu", "float32"
    )
    return Job(folder, out or str(folder), settings, CALIBRATION)


def make_worker(model: Path, job: Job, **decode: object) -> LabelWorker:
    settings = WorkerSettings(
        str(model),
        span_parts=job.settings.span_parts,
        backend=job.settings.backend,
    )
    return LabelWorker(replace(settings, decode=replace(DecodeSettings(), **decode)))  # type: ignore[arg-type]


def run_in_process(
    job: Job, worker: LabelWorker, before: Callable[[Task], Outcome | None] = lambda task: None
) -> list[Outcome]:
    """Until nothing is left to do. before: may answer a task in the worker's place."""
    outcomes = []
    while job.waiting:
        for task in job.next_tasks(2):
            outcome = before(task) or worker.label(task)
            job.take(outcome)
            outcomes.append(outcome)
        job.collect_tables(wait=True)
    return outcomes
