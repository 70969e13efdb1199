"""What a labelling job on a Ray cluster loses against its parts, and gains over a loop that labels one video at a time.

    python -m benchmarks.label_throughput

Measured in turns, in one run, on the same videos and with the same model:

- decode alone: one decoding process (decode, scale, optical flow), whose blocks are thrown away;
- model alone: the network over blocks that are in memory, in one thread;
- job: a worker of `vpt label --cluster` with one decoding process and one model thread, fed by a driver through Ray;
- job as set by default: as many decoding processes and model threads as `vpt label --cluster local` takes here;
- loop: one video after the other, decode, then predict, block by block, each with all the threads its libraries take;
- one process: `vpt label` without a cluster, which decodes the next frames while it predicts;
- published: that loop with the whole network run on every window anew, as the published script does.

Decode alone and model alone have a core each. A job that overlaps the two perfectly is as fast as the slower of them; one
whose two cores never wait, whatever they do, makes 2 / (1 / decode + 1 / model) frames/s.
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
from data.frame_inputs import FrameInputs, InputMaker
from data.label_parts import find_parts, merge_parts
from data.readers import open_reader
from data.resample import at_rate
from data.sources import find_sources
from idm.blocks import Block, input_blocks
from idm.checkpoint import load_model, model_hash, save_model
from idm.config import preset
from idm.labelling import PartWriter, in_parts, label_video, predict_span
from idm.model import InverseDynamicsModel
from idm.predict import WindowPredictor
from idm.threads import model_threads
from vpt_pipeline.cluster.connect import connect
from vpt_pipeline.cluster.decode_link import DecodeProcess, DecodeSettings
from vpt_pipeline.cluster.driver import ClusterRun, work
from vpt_pipeline.cluster.fleet import Fleet, FleetSettings, decoders_for
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
        self.blocks = list(self.decoded(self.videos[0]))
        torch.set_num_threads(os.cpu_count() or 1)

    def decoded(self, path: Path) -> Iterator[Block]:
        maker = InputMaker(self.model.config.inputs, threads=1, block=self.block)
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
        with tempfile.TemporaryDirectory() as out:
            for path in self.videos:
                parts = Path(out, path.stem)
                writer = PartWriter(path.stem, parts, self.calibration, 0.6)
                pieces = predict_span(WindowPredictor(self.model), self.decoded(path))
                for part in in_parts(pieces, self.block):
                    frames += len(writer.write(part))
                merge_parts(find_parts(parts), Path(out, f"{path.stem}.parquet"))
        return frames

    def one_process(self) -> int:
        torch.set_num_threads(os.cpu_count() or 1)
        frames = 0
        with tempfile.TemporaryDirectory() as out:
            for path in self.videos:
                parts = Path(out, path.stem)
                frames += label_video(path, path.stem, parts, self.model, self.calibration).frames
                merge_parts(find_parts(parts), Path(out, f"{path.stem}.parquet"))
        return frames

    @torch.inference_mode()
    def published(self) -> int:
        torch.set_num_threads(os.cpu_count() or 1)
        frames, halo = 0, self.model.config.halo
        blank = FrameInputs.blank(halo, self.model.config.inputs)
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
        one = WorkerSettings(str(model.resolve()), ahead=1)
        cores = os.cpu_count() or 1
        slim, full = FleetSettings(1, 2, 0, 1), FleetSettings(max(1, cores // 2), 2, 0, decoders_for(2))
        default = replace(one, torch_threads=model_threads(bench.model.config, 2), ahead=full.decoders)

        driver: list[float] = []

        def job(worker: WorkerSettings, settings: FleetSettings) -> Callable[[], float]:
            def once() -> float:
                fleet = ready(worker, settings)
                begun, used = time.perf_counter(), time.process_time()
                frames = bench.job(fleet, worker, settings)
                seconds = time.perf_counter() - begun
                driver.append((time.process_time() - used) / frames)
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
            "one process": timed(bench.one_process),
            "loop": timed(bench.loop),
            "published": timed(bench.published),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds):
            for name, way in ways.items():
                speeds[name].append(way())
                print(f"round {turn + 1}: {name}: {speeds[name][-1]:.0f} frames/s", flush=True)
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    decode, alone = middle["decode alone"], middle["model alone"]
    ideal = 2 / (1 / decode + 1 / alone)
    for name in ("job, 1 + 1", "job, default", "one process"):
        job_s = middle[name]
        print(
            f"{name}: {job_s:.0f} frames/s; / slower of decode alone and model alone {job_s / min(decode, alone):.2f}; "
            f"/ two cores that never wait {job_s / ideal:.2f}; / loop {job_s / middle['loop']:.2f}; "
            f"/ published {job_s / middle['published']:.2f}"
        )
    print(f"the driver itself: {statistics.median(driver) * 1e6:.0f} us of a core a frame")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
