"""Exact search: every allowed row is compared, in blocks that the threads take one after the other.

Nothing is built beforehand, so demonstrations come and go at no cost, and nothing is held but a block's distances. One pass
over a million rows of 1024 reads 2 GB: the speed is the memory's.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from search_agent.distances import SPARE, Metric, block_distances, exact_distances, row_distances, scaled
from search_agent.segments import Allowed, Segments

BLOCK = 8192
"""Rows that a thread takes at a time: half a millisecond, so that a thread which is held up delays the others little."""
_FARTHEST = np.finfo(np.float32).max  # what is not below it, not-a-number included, is never found


def threads_here() -> int:
    """OMP_NUM_THREADS, or as many as there are processors."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else os.cpu_count() or 1


def nearest(
    segments: Segments,
    queries: NDArray[np.float32],
    k: int,
    metric: Metric,
    allowed: Allowed | None = None,
    threads: int = 0,
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """For each query of (Q, D): its k nearest flat rows and their distances, nearest first, of equals the lowest row first.

    allowed: None for all rows; fewer than k come where fewer are allowed. threads: 0 for `threads_here`.
    """
    keep = k + SPARE[metric]
    pointed = scaled(queries, metric)
    turn = itertools.count()  # taking the next number is one step, threads or not

    def work() -> list[_Best]:
        best = [_Best(keep) for _ in pointed]
        while (first := next(turn) * BLOCK) < segments.rows:
            last = min(first + BLOCK, segments.rows)
            if allowed is not None and not allowed.mask[first:last].any():
                continue
            distances = block_distances(segments, first, last, pointed, metric)
            if allowed is not None:
                distances[:, ~allowed.mask[first:last]] = np.inf
            for mine, row in zip(best, distances, strict=True):
                mine.take(first, row)
        return best

    count = min(threads or threads_here(), -(-segments.rows // BLOCK))
    if count <= 1:
        parts = [work()]
    else:
        with ThreadPoolExecutor(count - 1) as pool:
            others = [pool.submit(work) for _ in range(count - 1)]
            parts = [work(), *(other.result() for other in others)]
    found = []
    for number, query in enumerate(queries):
        rows = np.concatenate([part[number].rows for part in parts])
        rough = np.concatenate([part[number].distances for part in parts])
        found.append(_exactly(segments, rows, rough, query, k, metric))
    return found


def rank(
    segments: Segments, rows: NDArray[np.int64], query: NDArray[np.float32], k: int, metric: Metric
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest of some flat rows (R) by the exact distance, nearest first, of equals the lowest row first."""
    rough = row_distances(segments, rows, scaled(query[None], metric)[0], metric)
    return _exactly(segments, rows, rough, query, k, metric)


def _exactly(
    segments: Segments,
    rows: NDArray[np.int64],
    rough: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    metric: Metric,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rows = rows[np.lexsort((rows, rough))[: k + SPARE[metric]]]
    distances = exact_distances(segments.gather(rows), query, metric)
    order = np.lexsort((rows, distances))[:k]
    return rows[order], distances[order]


class _Best:
    """A thread's nearest rows so far; it sees rows in ascending order and lets the lower one stay among equals."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.rows = np.empty(0, np.int64)
        self.distances = np.empty(0, np.float32)
        self.bound = np.float32(_FARTHEST)

    def take(self, first: int, distances: NDArray[np.float32]) -> None:
        """A block's distances (B), of the flat rows from ``first`` on."""
        close = np.flatnonzero(distances < self.bound)
        if not len(close):
            return
        if len(close) > self.keep:
            limit = np.partition(distances[close], self.keep - 1)[self.keep - 1]
            close = close[distances[close] <= limit]
        rows = np.concatenate([self.rows, first + close])
        both = np.concatenate([self.distances, distances[close]])
        order = np.argsort(both, kind="stable")[: self.keep]
        self.rows, self.distances = rows[order], both[order]
        if len(order) == self.keep:
            self.bound = both[order[-1]]
