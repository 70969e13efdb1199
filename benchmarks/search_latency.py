"""Nearest-neighbour search among demonstrations' latents: time of a search, recall, memory, and the published way beside it.

    python -m benchmarks.search_latency                      # a million frames of 1024 numbers: some minutes, 4 GB of disk
    python -m benchmarks.search_latency --frames 8000000 --kinds approximate

Latents are made up: each demonstration is a random walk that is drawn back to the place where it is played, one of 32, in some
hundred directions of falling weight, and every frame has noise of its own. They lie in files and are memory-mapped, as a
demonstration set's are. Queries are fresh and of two kinds: *near* lies between frames, and beside them by as
much as a frame from the next; *other play* are frames of demonstrations that are not in the index.

The published search is restated plainly: float16 in torch, the mean of |a - b| over all rows, computed twice for each search
as the published code does. It and ours search the same 100,000 frames in the same run.
"""

from __future__ import annotations

import os
import platform
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from search_agent.exact import nearest, threads_here
from search_agent.held_out import near_queries
from search_agent.index import Budget, LatentIndex, build
from search_agent.segments import Segment, Segments

PLACES, DIRECTIONS, MEMORY = 32, 256, 0.97
FRAME_NOISE = 0.05
PUBLISHED_FRAMES = 100_000
Kind = Literal["exact", "approximate"]


@dataclass(frozen=True)
class Args:
    """Settings."""

    frames: int = 1_000_000
    dims: int = 1024
    length: int = 2000
    """Frames of a demonstration."""
    queries: int = 200
    """Of each kind."""
    kinds: tuple[Kind, ...] = ("exact", "approximate")
    metric: Literal["l1", "l2", "cosine"] = "l1"
    latency_ms: float = 5
    """Budget of the approximate index."""
    memory_gb: float = 16
    recall: float = 0.95
    falling: float = 0.5
    """Weights of the directions are their number to the power of minus this: 0 makes all alike, and neighbours rare."""
    folder: Path | None = None
    """Where latents are written; a temporary folder by default."""
    quick: bool = False
    """40,000 frames of 256 numbers, 40 queries."""


class Player:
    """Makes up demonstrations of the same game: (length, D) float16."""

    def __init__(self, dims: int, length: int, falling: float, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.length = length
        weights = (np.arange(1, DIRECTIONS + 1.0) ** -falling).astype(np.float32)
        directions = self.rng.standard_normal((DIRECTIONS, dims), np.float32)
        self.directions = directions * (weights / np.linalg.norm(weights))[:, None]
        self.places = self.rng.standard_normal((PLACES, DIRECTIONS), np.float32)

    def play(self, count: int) -> NDArray[np.float16]:
        """(count, length, D)."""
        place = self.places[self.rng.integers(PLACES, size=count)]
        place = place + 0.5 * self.rng.standard_normal(place.shape, np.float32)
        away = self.rng.standard_normal(place.shape, np.float32)
        walk = np.empty((count, self.length, DIRECTIONS), np.float32)
        for frame in range(self.length):
            walk[:, frame] = place + away
            pushed = self.rng.standard_normal(place.shape, np.float32)
            away = np.float32(MEMORY) * away + np.float32(np.sqrt(1 - MEMORY**2)) * pushed
        latents = walk @ self.directions
        latents += FRAME_NOISE * self.rng.standard_normal(latents.shape, np.float32)
        return latents.astype(np.float16)


def write_demonstrations(folder: Path, player: Player, frames: int) -> list[tuple[str, Path]]:
    """Files of latents, ``frames`` rows in all."""
    sources: list[tuple[str, Path]] = []
    left = frames
    while left > 0:
        for latents in player.play(8):
            if left > 0:
                path = folder / f"{len(sources):05d}.npy"
                np.save(path, latents[:left])
                sources.append((path.stem, path))
                left -= len(latents[:left])
    return sources


class PeakMemory:
    """The most memory, in GB, that this process held for itself in a block: without the files that it maps."""

    def __enter__(self) -> PeakMemory:
        self.before = self.peak = own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, own_memory())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def more(self) -> float:
        return self.peak - self.before


def own_memory() -> float:
    """GB of anonymous memory; of all memory, where /proc does not tell them apart."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e9
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def timed(work: Callable[[Any], Any], inputs: Any) -> tuple[NDArray[np.float64], list[Any]]:
    """Milliseconds (2, N) that passed and that all processors spent, and results, of one call after the other. Two more come
    first and do not count."""
    for one in inputs[:2]:
        work(one)
    times, results = [], []
    for one in inputs:
        begun, spent = time.perf_counter(), time.process_time()
        results.append(work(one))
        times.append((time.perf_counter() - begun, time.process_time() - spent))
    return np.array(times).T * 1e3, results


def published(store: torch.Tensor, query: torch.Tensor) -> tuple[int, float]:
    """Which row (N, D) is nearest to a query (D), and how far it is: each answer by a pass of its own."""
    row = int((store - query).abs().mean(1).argmin())
    return row, float((store - query).abs().mean(1)[row])


def table_rows(what: str, index: LatentIndex, queries: dict[str, Any], true: dict[str, Any], more: str) -> list[str]:
    """A line of the table for each kind of queries."""
    lines = []
    for kind, points in queries.items():
        times, found = timed(lambda query: index.search(query).distances[0], points)
        near = np.array(found) <= true[kind] * (1 + 1e-9)
        farther = np.mean(np.divide(found, true[kind], out=np.ones(len(found)), where=true[kind] > 0))
        (p50, p99), (c50, c99) = (np.percentile(spent, (50, 99)) for spent in times)
        numbers = f"{p50:.2f} | {p99:.2f} | {c50:.2f} | {c99:.2f} | {near.mean():.3f} | {farther:.4f}"
        lines.append(f"| {what} | {kind} | {numbers} | {more} |")
    return lines


def measure(args: Args, folder: Path) -> None:
    """Print everything."""
    player = Player(args.dims, args.length, args.falling)
    begun = time.perf_counter()
    sources = write_demonstrations(folder, player, args.frames)
    segments = Segments([Segment.of(name, path) for name, path in sources])
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {threads_here()} used for exact search, {load}"
    )
    print(
        f"{args.frames} frames x {args.dims} in {len(sources)} demonstrations, made in {time.perf_counter() - begun:.0f} s"
    )

    rng = np.random.default_rng(1)
    other = player.play(8).reshape(-1, args.dims)
    queries = {
        "near": near_queries(segments, args.queries, rng),
        "other play": other[rng.integers(len(other), size=args.queries)].astype(np.float32),
    }
    true = {
        kind: np.array([distances[0] for _, distances in nearest(segments, points, 1, args.metric)])
        for kind, points in queries.items()
    }
    pairs = segments.gather(rng.integers(args.frames, size=1000)).astype(np.float32)
    apart = np.abs(pairs[::2] - pairs[1::2]).mean()
    print("mean distance to the nearest row: " + ", ".join(f"{kind} {far.mean():.3f}" for kind, far in true.items()))
    print(f"(l1 between any two frames: {apart:.3f})\n")
    lines = [
        "| index | queries | p50 ms | p99 ms | CPU p50 | CPU p99 | recall@1 | farther | GB held (peak of building) | built |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for which in args.kinds:
        with PeakMemory() as memory:
            begun = time.perf_counter()
            latency = args.latency_ms if which == "approximate" else 120
            index = build(sources, args.metric, Budget(latency, args.memory_gb, args.recall, which))
            took = time.perf_counter() - begun
        held = own_memory() - memory.before
        print(index.report())
        more = f"{max(held, 0):.2f} ({memory.more:.2f}) | {took:.1f} s"
        if which == "approximate":
            begun = time.perf_counter()
            index.save(folder / "index")
            size = sum(path.stat().st_size for path in (folder / "index").iterdir()) / 1e9
            print(f"  saved in {time.perf_counter() - begun:.1f} s, {size:.2f} GB")
        lines += table_rows(index.about.kind, index, queries, true, more)
    print("\n" + "\n".join(lines) + "\n")
    beside_published(args, segments.head(PUBLISHED_FRAMES), queries["near"])


def beside_published(args: Args, some: Segments, queries: NDArray[np.float32]) -> None:
    """The published search and ours on the same frames, in turns."""
    named = [(segment.name, segment.latents) for segment in some.all if len(segment.latents)]
    store = torch.from_numpy(np.concatenate([latents for _, latents in named]))
    indexes = {kind: build(named, "l1", Budget(args.latency_ms, kind=kind)) for kind in args.kinds}
    few = queries[:10]
    published_ms, there = timed(lambda query: published(store, torch.from_numpy(query).half()), few)
    lines = [
        "| search of the same frames | p50 ms | CPU ms | times as fast | less CPU | same row |",
        "|---|---|---|---|---|---|",
    ]
    slow, much = np.median(published_ms, 1)
    named_so = f"published, restated: float16, two passes, {torch.get_num_threads()} threads"
    lines.append(f"| {named_so} | {slow:.1f} | {much:.1f} | 1 | 1 | |")
    for index in indexes.values():
        ours_ms, here = timed(lambda query, index=index: index.search(query), few)  # type: ignore[misc]
        flat = [int(index.segments.offsets[found.segments[0]] + found.rows[0]) for found in here]
        same = np.mean([row == ours for (row, _), ours in zip(there, flat, strict=True)])
        ours, spent = np.median(ours_ms, 1)
        ratios = f"{slow / ours:.0f} | {much / spent:.0f}"
        lines.append(f"| {index.about.kind} | {ours:.2f} | {spent:.2f} | {ratios} | {same:.0%} |")
    print(f"{len(store)} frames, L1:\n\n" + "\n".join(lines))


def main(args: Args) -> None:
    """Make latents up and measure."""
    if args.quick:
        args = replace(args, frames=40_000, dims=256, length=1000, queries=40)
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measure(args, Path(folder))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
