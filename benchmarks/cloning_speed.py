"""Behavioural cloning: sequences in batches against the published way, a frame of a trajectory at a time.

    python -m benchmarks.cloning_speed --preset vpt_1x

The published script (behavioural_cloning.py) runs one frame of one trajectory forward and backward, eight of them a step.
Both ways clone the same made-up episodes with the same policy, in turns in one run; ours with its loader, whose waits count.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from data.actions import ActionTrack
from data.frame_inputs import FrameInputs, InputShape
from prior.cloning import CloningLoss
from prior.config import preset
from prior.episodes import Choices, Episode, episode_of
from prior.nn.precision import Precision
from prior.policy import Policy
from prior.sequences import SequenceLoader, Source
from prior.training import Cloner, CloningConfig


@dataclass(frozen=True)
class Args:
    """Settings."""

    preset: str = "vpt_1x"
    batch: int = 8
    chunk: int = 16
    steps: int = 4
    """Measured steps of each way; one more goes before."""
    rounds: int = 2
    device: str = "cpu"
    quick: bool = False
    """The debug policy, once."""


def made_up(shape: InputShape, frames: int, seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (frames, *shape.image_size, shape.channels), dtype=np.uint8)
    inputs = FrameInputs(images, rng.normal(0, 1, (frames, *shape.motion_shape)).astype(np.float16))
    track = ActionTrack(rng.random((frames, 20)) < 0.2, rng.normal(0, 3, (frames, 2)).astype(np.float32))
    return episode_of(str(seed), "", inputs, track, Choices("keep"))


def ours(folder: Path, policy: Policy, loader: SequenceLoader, args: Args, precision: Precision) -> tuple[float, float]:
    """Frames/s, and the share of time in which the loader was waited for."""
    training = CloningConfig(
        steps=args.steps + 1,
        batch=args.batch,
        chunk=loader.chunk,
        precision=precision,
        save_every=10**6,
        validate_every=10**6,
    )
    seen: list[dict[str, float]] = []
    Cloner(folder, policy, training, loader, None, args.device).run(lambda _, metrics: seen.append(dict(metrics)))
    return tuple(statistics.mean(row[name] for row in seen[1:]) for name in ("frames_per_second", "waited"))  # type: ignore[return-value]


def published(policy: Policy, loader: SequenceLoader, args: Args) -> float:
    """Frames/s of one frame forward and backward at a time, eight to a step of Adam."""
    policy = policy.to(args.device).train()
    loss = CloningLoss(policy, "always").to(args.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.000181, weight_decay=0.039428)
    chunks = loader.draw(0).to(args.device)
    memories = [policy.empty_memory(1) for _ in range(8)]
    begun = 0.0
    for step in range(args.steps + 1):
        if step == 1:
            begun = time.perf_counter()
        for slot in range(8):
            one = chunks.slots(slice(slot % loader.slots, slot % loader.slots + 1))
            at = slice(step % loader.chunk, step % loader.chunk + 1)
            frame = type(one)(*(getattr(one, name)[:, at] for name in one.__dataclass_fields__))
            sums, memories[slot] = loss(frame, memories[slot])
            (sums[0] / 8).backward()
        optimizer.step()
        optimizer.zero_grad()
    return args.steps * 8 / (time.perf_counter() - begun)


def main(args: Args) -> None:
    """Print frames/s of each way, and ratios."""
    name, rounds = ("debug", 1) if args.quick else (args.preset, args.rounds)
    config = preset(name)
    loader = SequenceLoader(
        [Source([made_up(config.inputs, args.chunk * (args.steps + 2), n) for n in range(args.batch)])],
        args.batch,
        args.chunk,
        0,
    )
    speeds: dict[str, list[float]] = {}
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            torch.manual_seed(0)
            speeds.setdefault("published", []).append(published(Policy(config), loader, args))
            precisions: tuple[Precision, ...] = ("float32", "bfloat16")
            for precision in precisions:
                speed, waited = ours(Path(folder) / f"{turn}-{precision}", Policy(config), loader, args, precision)
                speeds.setdefault(precision, []).append(speed)
                waits.append(waited)
    middle = {way: statistics.median(values) for way, values in speeds.items()}
    for way, values in speeds.items():
        told = ", ".join(f"{value:.1f}" for value in values)
        print(f"{name}, {way}: {told} frames/s; {middle[way] / middle['published']:.2f} times the published way")
    print(f"waited for the loader: at most {max(waits):.2%} of the time")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
