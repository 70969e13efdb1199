"""What a labelling job on a Ray cluster loses against its parts, and gains over a loop that labels one video at a time.

    python -m benchmarks.label_throughput

Measured in turns, in one run, on the same videos and with the same model:

- decode alone: one decoding process (decode, scale, optical flow), whose blocks are thrown away;
- model alone: the network over blocks that are in memory, in one thread;
- job: a worker of `vpt label --cluster` with one decoding process and one model thread, fed by a driver through Ray;
- job as set by default: as many decoding processes and model threads as `vpt label --cluster local` takes here;
- loop: one video after the other, decode, then predict, block by block, each with all the threads its libraries take;
- published: that loop with the whole network run on every window anew, as the published script does.

A job that overlaps perfectly is as fast as the slower of decode alone and model alone.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from benchmarks.label_speed import made_up
from data.readers import open_reader
from data.resample import at_rate
from data.sources import find_sources
from idm.blocks import Block, input_blocks
from idm.checkpoint import load_model, model_hash, save_model
from idm.config import preset
from idm.inputs import FrameInputs, InputMaker
from idm.labelling import predict_span
from idm.model import InverseDynamicsModel
from idm.predict import WindowPredictor
from vpt_pipeline.cluster.decode_link import DecodeProcess, DecodeSettings
from vpt_pipeline.cluster.driver import ClusterRun, work
from vpt_pipeline.cluster.fleet import Fleet, FleetSettings, connect
from vpt_pipeline.cluster.job import Job, JobSettings
from vpt_pipeline.cluster.worker import WorkerSettings


@dataclass(frozen=True)
class Args:
    """Settings."""

    model: Path | None = None
    """A trained model; without one, an untrained one of --preset (as fast)."""
    preset: str = "luanti_small"
    clips: tuple[Path, ...] = ()
    """Videos to label; without any, a made-up one of 640x360."""
    minutes: float = 1.0
    """Length of the made-up video."""
    videos: int = 8
    """How many copies of them a job labels."""
    rounds: int = 3
    quick: bool = False
    """One round over two short videos."""


@dataclass
class Bench:
    """Everything the ways share."""

    folder: Path
    model_folder: Path
    videos: list[Path]

    def __post_init__(self) -> None:
        self.model, self.calibration = load_model(self.model_folder)
        self.model.for_inference()
        self.block = self.model.config.window // 2
        self.count = 0
        torch.set_num_threads(1)
        self.blocks = [list(self.decoded(path)) for path in self.videos[:1]][0]
        torch.set_num_threads(os.cpu_count() or 1)

    def decoded(self, path: Path) -> Iterator[Block]:
        maker = InputMaker(self.model.config, threads=1, block=self.block)
        with open_reader(path, "pyav") as reader:
            yield from input_blocks(at_rate(reader, self.model.config.rate), maker)

    def decode_alone(self) -> int:
        frames = 0
        process = DecodeProcess(DecodeSettings())
        try:
            for path in self.videos:
                asked = {
                    "url": str(path),
                    "stamp": "",
                    "config": self.model.config.to_dict(),
                    "block": self.block,
                    "backend": "pyav",
                    "plan_ticks": 0,
                }
                frames += sum(len(arrays["pts"]) for kind, _, arrays in process.ask(asked) if kind == "block")
        finally:
            process.close()
        return frames

    def model_alone(self) -> int:
        torch.set_num_threads(1)
        frames = 0
        for _ in self.videos:
            frames += sum(len(piece) for piece in predict_span(WindowPredictor(self.model), self.blocks))
        return frames

    def loop(self) -> int:
        torch.set_num_threads(os.cpu_count() or 1)
        frames = 0
        for path in self.videos:
            frames += sum(len(piece) for piece in predict_span(WindowPredictor(self.model), self.decoded(path)))
        return frames

    @torch.inference_mode()
    def published(self) -> int:
        torch.set_num_threads(os.cpu_count() or 1)
        frames, window, halo = 0, self.model.config.window, self.model.config.halo
        blank = FrameInputs.blank(halo, self.model.config)
        for path in self.videos:
            before: FrameInputs | None = None
            for block in self.decoded(path):
                frames += len(block)
                if before is not None:
                    part = FrameInputs.join([blank, before, block.inputs, blank])
                    self.model(torch.from_numpy(part.images)[None], torch.from_numpy(part.motion)[None])
                before = block.inputs
        return frames

    def job(self, fleet: Fleet, worker: WorkerSettings, fleet_settings: FleetSettings) -> int:
        self.count += 1
        config = self.model.config
        settings = JobSettings(
            model_hash(self.model_folder), 0.6, config.rate, self.block, config.halo, 8, "pyav", "cpu", "float32"
        )
        out = self.folder / f"job-{self.count}"
        job = Job(out, str(out), settings, self.calibration)
        try:
            sources = [str(path) for path in self.videos]
            job.books.add(find_sources(sources))
            work(job, fleet, ClusterRun(sources, str(out), out, "", settings, self.calibration, worker, fleet_settings))
            return job.books.counts()["rows"]
        finally:
            job.close()
            shutil.rmtree(out)


def ready(worker: WorkerSettings, settings: FleetSettings) -> Fleet:
    """A fleet whose workers have loaded the model."""
    fleet = Fleet(worker, settings)
    while fleet.size < settings.workers:
        fleet.events(0.2)
    return fleet


def main(args: Args) -> None:
    """Print frames/s of each way, in turns, and the ratios of their medians."""
    count, minutes, rounds = (2, 0.2, 1) if args.quick else (args.videos, args.minutes, args.rounds)
    connect("local")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = args.model or folder / "model"
        if args.model is None:
            save_model(model, InverseDynamicsModel(preset(args.preset)).eval())
        clips = list(args.clips)
        if not clips:
            clips = [folder / "made_up.mp4"]
            made_up(clips[0], minutes)
        videos = [folder / f"{n:03d}-{clips[n % len(clips)].name}" for n in range(count * len(clips))]
        for n, video in enumerate(videos):
            video.symlink_to(clips[n % len(clips)].resolve())
        bench = Bench(folder, model, videos)
        one = WorkerSettings(str(model.resolve()))
        cores = os.cpu_count() or 1
        default = replace(one, torch_threads=min(2, cores))
        slim, full = FleetSettings(1, 2, 0, 1), FleetSettings(max(1, cores // 2), 2, 0, 2)

        def job(worker: WorkerSettings, settings: FleetSettings) -> Callable[[], float]:
            def once() -> float:
                fleet = ready(worker, settings)
                begun = time.perf_counter()
                frames = bench.job(fleet, worker, settings)
                seconds = time.perf_counter() - begun
                fleet.close()
                return frames / seconds

            return once

        def timed(way: Callable[[], int]) -> Callable[[], float]:
            def once() -> float:
                begun = time.perf_counter()
                return way() / (time.perf_counter() - begun)

            return once

        ways: dict[str, Callable[[], float]] = {
            "decode alone": timed(bench.decode_alone),
            "model alone": timed(bench.model_alone),
            "job, 1 + 1": job(one, slim),
            "job, default": job(default, full),
            "loop": timed(bench.loop),
            "published": timed(bench.published),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds):
            for name, way in ways.items():
                speeds[name].append(way())
                print(f"round {turn + 1}: {name}: {speeds[name][-1]:.0f} frames/s", flush=True)
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    slower = min(middle["decode alone"], middle["model alone"])
    print(f"job with one process and one thread / slower of its parts: {middle['job, 1 + 1'] / slower:.2f}")
    best = max(middle["job, 1 + 1"], middle["job, default"])
    print(f"job as set by default / loop: {middle['job, default'] / middle['loop']:.2f} (best job {best / middle['loop']:.2f})")
    print(f"job as set by default / published: {middle['job, default'] / middle['published']:.2f}")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
