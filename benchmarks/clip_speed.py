"""Embedding every window of a video: each frame computed once, against the published way, in one run.

    python -m benchmarks.clip_speed                 # MineCLIP's layout with fewer and narrower layers; about a minute
    python -m benchmarks.clip_speed --published-size --frames 32 --rounds 1    # its own size: several minutes

MineCLIP's published code computes all sixteen frames of every window that slides over a video. Ours computes each frame's
features once and pools windows of them. Both ways embed the same windows of the same frames in turns; ratios are taken within a
round, and the embeddings are compared. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import tyro

from prior.text.embedding.embedder import Embedder, Floats, Frames
from prior.text.embedding.features import window_embeddings
from prior.text.embedding.mineclip import MineClip, MineClipConfig
from prior.text.embedding.mineclip_files import embedder_of


@dataclass(frozen=True)
class Args:
    """Settings."""

    frames: int = 96
    """Of the video, 160x256. Of T frames there are T - 15 windows, so the published way computes nearly 16 T frames."""
    rounds: int = 2
    width: int = 384
    """Of the image network, whose published width is 768."""
    layers: int = 4
    """Of the image network, which has 12 as published. The transformer over windows keeps its published size."""
    published_size: bool = False
    """MineCLIP as it is, instead of ``width`` and ``layers``."""
    device: str = "auto"
    quick: bool = False
    """A tiny network and few frames: seconds, to see that it runs."""


def embedder(args: Args, device: str) -> Embedder:
    """MineCLIP with random weights."""
    config = MineClipConfig(width=args.width, layers=args.layers, heads=max(1, args.width // 64), text_layers=1)
    if args.published_size:
        config = MineClipConfig()
    torch.manual_seed(0)
    return embedder_of(MineClip(config).eval().to(device), "random", "random", device=device)


def published_way(model: Embedder, frames: Frames) -> Floats:
    """Every window's frames anew."""
    found = []
    for start in range(len(frames) - model.window + 1):
        found.append(model.encode_video(frames[start : start + model.window]))
    return np.stack(found)


def once_a_frame(model: Embedder, frames: Frames) -> Floats:
    """Ours, as for a video on disk."""
    return window_embeddings(model, model.frame_features(frames))


def main(args: Args) -> None:
    """Print a table."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    if args.quick:
        args = Args(frames=40, rounds=2, width=64, layers=1, device=device)
    model = embedder(args, device)
    frames = np.random.default_rng(0).integers(0, 256, (args.frames, *model.shape.image_size, 3), dtype=np.uint8)
    ways: dict[str, Callable[[Embedder, Frames], Floats]] = {
        "every window anew, as published": published_way,
        "each frame once": once_a_frame,
    }
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    apart = 0.0
    model.encode_video(frames[: model.window])  # warms up
    for _ in range(args.rounds):
        found = []
        for way, embed in ways.items():
            begun, spent = time.perf_counter(), time.process_time()
            found.append(embed(model, frames))  # ends with a copy to the host, so that nothing is left to wait for
            took[way].append((time.perf_counter() - begun, time.process_time() - spent))
        apart = max(apart, float(np.abs(found[0] - found[1]).max()))
    where = (
        torch.cuda.get_device_name() if device != "cpu" else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    size = "published size" if args.published_size else f"{args.layers} layers of {args.width}"
    count = args.frames - model.window + 1
    print(f"{where}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    print(
        f"MineCLIP, {size}; {count} windows of {args.frames} frames, {args.rounds} rounds; embeddings within {apart:.1e}"
    )
    print("| way | ms a window | times the published (range of rounds) | CPU ms | times |\n|---|---|---|---|---|")
    base = np.array(took["every window anew, as published"])
    for way, rounds in took.items():
        (passed, spent), ratios = 1000 * np.median(rounds, 0) / count, np.array(rounds) / base
        spread = f"{ratios[:, 0].min():.3f} to {ratios[:, 0].max():.3f}"
        middle = np.median(ratios, 0)
        print(f"| {way} | {passed:.1f} | **{middle[0]:.3f}** ({spread}) | {spent:.1f} | {middle[1]:.3f} |")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
