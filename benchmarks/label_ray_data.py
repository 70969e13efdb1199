"""Ray Data against this package's actors: the same videos, the same model, the same two CPUs.

    pip install "ray[data]"      # pandas, which nothing else here needs
    python -m benchmarks.label_ray_data

With Ray Data the videos are a dataset; a map with the same decoding makes rows of some blocks of inputs, and a map over
an actor runs the same model on them. The rows go through the object store, where they are counted. It keeps no books,
stitches nothing and writes no table, all of which the job beside it does.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks.label_memory import measure
from benchmarks.label_speed import made_up
from benchmarks.label_throughput import Bench, ready
from data.frame_inputs import FrameInputs, InputMaker
from data.readers import open_reader
from data.resample import at_rate
from idm.blocks import input_blocks
from idm.checkpoint import load_model, save_model
from idm.config import IDMConfig, preset
from idm.model import InverseDynamicsModel
from idm.predict import WindowPredictor
from idm.threads import model_threads
from vpt_pipeline.cluster.connect import connect
from vpt_pipeline.cluster.fleet import FleetSettings, decoders_for
from vpt_pipeline.cluster.worker import WorkerSettings

_BLOCKS_A_ROW = 8


@dataclass(frozen=True)
class Args:
    """Settings."""

    preset: str = "luanti_small"
    videos: int = 8
    minutes: float = 1.0
    rounds: int = 2
    quick: bool = False
    """One round over two short videos."""


class Decode:
    """A video -> rows of some blocks each, with a block more at either end, so that a row is enough for its windows."""

    def __init__(self, config: IDMConfig) -> None:
        self.config = config

    def __call__(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        maker = InputMaker(self.config.inputs, threads=1, block=self.config.window // 2)
        held: list[FrameInputs] = []
        first = 0
        with open_reader(Path(row["item"]), "pyav") as reader:
            for block in input_blocks(at_rate(reader, self.config.rate), maker):
                held.append(block.inputs)
                if len(held) == _BLOCKS_A_ROW + 2:
                    yield self._row(held, first)
                    first, held = first + _BLOCKS_A_ROW, held[-2:]
        yield self._row(held, first)

    def _row(self, blocks: list[FrameInputs], first: int) -> dict[str, Any]:
        joined = FrameInputs.join(blocks)
        return {"images": joined.images, "motion": joined.motion, "first": first}


class Predict:
    """The model on such rows."""

    def __init__(self, model: str) -> None:
        torch.set_num_threads(1)
        self.predictor = WindowPredictor(load_model(model)[0])

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        frames = []
        for images, motion in zip(batch["images"], batch["motion"], strict=True):
            whole, size = FrameInputs(np.asarray(images), np.asarray(motion)), self.predictor.block
            blocks = [whole[at : at + size] for at in range(0, len(whole), size)]
            frames.append(sum(len(piece) for piece in self.predictor.predict(blocks)))
        return {"frames": np.array(frames)}


def with_ray_data(bench: Bench, model: Path) -> float:
    """Frames/s of the videos (rows overlap; what they share is counted once)."""
    import ray.data

    begun = time.perf_counter()
    rows = ray.data.from_items([str(path) for path in bench.videos], override_num_blocks=len(bench.videos))
    blocks = rows.flat_map(Decode(bench.model.config), num_cpus=0.5)
    labels = blocks.map_batches(Predict, fn_constructor_args=(str(model),), batch_size=1, concurrency=1, num_cpus=1)
    for _ in labels.iter_batches(batch_size=None):
        pass
    return len(bench.videos) * sum(map(len, bench.blocks)) / (time.perf_counter() - begun)


class Watch:
    """The peak of the object store while it is entered."""

    def __enter__(self) -> Watch:
        self.peak, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.5):
            self.peak = max(self.peak, measure()["object store"])

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def main(args: Args) -> None:
    """Print frames/s and the peak of the object store, in turns."""
    if importlib.util.find_spec("pandas") is None:
        print('Ray Data needs pandas: pip install "ray[data]"', file=sys.stderr)
        return
    import ray.data

    count, minutes, rounds = (2, 0.2, 1) if args.quick else (args.videos, args.minutes, args.rounds)
    connect("local")
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_model(folder / "model", InverseDynamicsModel(preset(args.preset)).eval())
        made_up(folder / "made_up.mp4", minutes)
        videos = [folder / f"{n:03d}.mp4" for n in range(count)]
        for video in videos:
            video.symlink_to(folder / "made_up.mp4")
        bench = Bench(folder, folder / "model", videos)
        fleet_settings = FleetSettings(max(1, (os.cpu_count() or 1) // 2), 2, 0, decoders_for(2))
        worker = WorkerSettings(str(folder / "model"), ahead=fleet_settings.decoders)
        worker = replace(worker, torch_threads=model_threads(bench.model.config, 2))
        for turn in range(rounds):
            with Watch() as watch:
                begun = time.perf_counter()
                fleet = ready(worker, fleet_settings)
                speed = bench.job(fleet, worker, fleet_settings) / (time.perf_counter() - begun)
                fleet.close()
            print(f"round {turn + 1}: actors {speed:.0f} frames/s, object store {watch.peak:.0f} MiB", flush=True)
            with Watch() as watch:
                speed = with_ray_data(bench, folder / "model")
            print(f"round {turn + 1}: Ray Data {speed:.0f} frames/s, object store {watch.peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
