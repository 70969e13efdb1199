"""Labelling speed and memory: features once a frame against the published way, and a long video against a short one.

    python -m benchmarks.label_speed --model runs/demo/idm --minutes 30

The published way runs the whole network on every window; with windows that overlap by half that is twice the work. The
ratio of the two is measured in one run. Then two made-up videos, the second ten times as long, are labelled in fresh
processes and their peak memory compared.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from data.frame_inputs import FrameInputs, InputMaker
from data.labels import LabelTable
from data.video import VideoWriter
from idm.checkpoint import load_model
from idm.config import preset
from idm.model import InverseDynamicsModel
from idm.predict import WindowPredictor

CHILD = """
import resource, sys, time
from pathlib import Path
from vpt_pipeline.label import LabelConfig, label_videos
begun = time.monotonic()
label_videos(LabelConfig(videos=(sys.argv[1],), model=Path(sys.argv[2]), out=sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, time.monotonic() - begun)
"""


@dataclass(frozen=True)
class Args:
    """Settings."""

    model: Path | None = None
    """A trained model; without one, an untrained one of --preset (as fast)."""
    preset: str = "luanti_small"
    minutes: float = 30.0
    """Length of the long video."""
    quick: bool = False
    """One minute instead."""


def made_up(path: Path, minutes: float) -> int:
    """A 640x360 video of drifting noise; returns its frames."""
    rng = np.random.default_rng(0)
    world = rng.integers(0, 256, (45, 160, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    frames = round(minutes * 60 * 20)
    with VideoWriter(path, (640, 360), 20) as writer:
        for n in range(frames):
            x, y = (n * 7) % 1900, (n * 3) % 350
            writer.write(np.ascontiguousarray(world[y : y + 360, x : x + 640]))
    return frames


def once_against_published(model: InverseDynamicsModel, frames: int = 2048) -> float:
    """Seconds of the published way over ours, on the same inputs."""
    rng = np.random.default_rng(0)
    maker = InputMaker(model.config.inputs, block=model.config.window // 2)
    pictures = [np.roll(rng.integers(0, 256, (180, 320, 3), dtype=np.uint8), n, 1) for n in range(frames)]
    blocks = list(maker.stream(pictures))
    whole, window, halo = FrameInputs.join(blocks), model.config.window, model.config.halo
    blank = FrameInputs.blank(halo, model.config.inputs)

    def once() -> None:
        for _ in WindowPredictor(model).predict(blocks):
            pass

    @torch.inference_mode()
    def published() -> None:
        for start in range(0, frames - window + 1, window // 2):
            part = FrameInputs.join([blank, whole[start : start + window], blank])
            model(torch.from_numpy(part.images)[None], torch.from_numpy(part.motion)[None])

    seconds = []
    for way in (once, published):
        way()  # the first run also pays for setting up kernels
        begun = time.perf_counter()
        way()
        seconds.append(time.perf_counter() - begun)
    print(
        f"model alone: once a frame {frames / seconds[0]:.0f} frames/s, every window anew {frames / seconds[1]:.0f} frames/s"
    )
    return seconds[1] / seconds[0]


def main(args: Args) -> None:
    """Print the ratio, then peak memory and speed of a short and a long video."""
    minutes = 1.0 if args.quick else args.minutes
    model = load_model(args.model)[0] if args.model else InverseDynamicsModel(preset(args.preset)).eval()
    print(f"published way / ours, time: {once_against_published(model):.2f}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if args.model is None:
            from idm.checkpoint import save_model

            save_model(folder / "model", model)
        for length in (minutes / 10, minutes):
            video = folder / f"{length:g}.mp4"
            frames = made_up(video, length)
            command = [
                sys.executable,
                "-c",
                CHILD,
                str(video),
                str(args.model or folder / "model"),
                str(folder / "out"),
            ]
            memory, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            rows = len(LabelTable.read(folder / "out" / f"{length:g}.parquet"))
            print(
                f"{length:g} min of 640x360: {rows} rows for {frames} frames, "
                f"{frames / float(seconds):.0f} frames/s, peak {memory} MiB"
            )
    print(f"(this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB)")


if __name__ == "__main__":
    main(tyro.cli(Args))
