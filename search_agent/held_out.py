"""Queries that an index is judged by, with their true nearest rows; and how well it does on them.

Two kinds, because the first is easy. *Near*: a state between two frames that follow each other closely, moved by as much as a
frame differs from the next, so that it lies near the data and not on it. *Other play*: a demonstration's own frames, searched
with that demonstration left out, as an agent meets a demonstration set that it is not part of.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.json_config import JsonConfig
from search_agent.distances import Metric
from search_agent.exact import nearest
from search_agent.segments import Allowed, Segments

_APART = 20  # frames between the two that a near query lies between
_LEFT_OUT = 16  # demonstrations that take turns at being left out: frames of the same one are much alike

Search = Callable[[NDArray[np.float32], Allowed | None], float]
"""A query (D) and the allowed rows -> the distance of what is found first."""


@dataclass(frozen=True)
class HeldOut:
    """Queries (Q, D) of one kind, the rows that may be found, and the distances (Q) of their true nearest rows."""

    kind: str
    queries: NDArray[np.float32]
    allowed: Allowed | None
    distances: NDArray[np.float64]


@dataclass(frozen=True)
class Measured(JsonConfig):
    """How well an index did on queries of one kind."""

    queries: int
    recall: float
    """The share for which the true nearest row, or one equally near, came first."""
    farther: float
    """Mean ratio of the found row's distance to the nearest one's."""
    p50_ms: float
    p99_ms: float
    """Of a search, everything included, one query at a time."""

    @property
    def least_recall(self) -> float:
        """The lower end of the recall's 95 % interval, one-sided (Wilson 1927): so many queries cannot tell it from less."""
        z, n, share = 1.645, self.queries, self.recall
        middle, spread = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
        return float((middle - spread) / (1 + z * z / n))


def near_queries(segments: Segments, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(count, D)."""
    flat = rng.integers(segments.rows, size=count)
    numbers, _ = segments.locate(flat)
    begin, end = segments.offsets[numbers], segments.offsets[numbers + 1] - 1
    other = np.clip(flat + rng.integers(-_APART, _APART + 1, count), begin, end)
    beside = np.clip(np.where(flat < end, flat + 1, flat - 1), begin, end)
    a, b, next_to_a = (segments.gather(rows).astype(np.float32) for rows in (flat, other, beside))
    share = rng.random((count, 1), np.float32)
    noise = rng.standard_normal(a.shape, np.float32) * np.abs(next_to_a - a).mean(1, keepdims=True)
    return np.asarray(a + share * (b - a) + noise)


def held_out(segments: Segments, metric: Metric, count: int = 128, seed: int = 0) -> list[HeldOut]:
    """``count`` near queries and, where there are several demonstrations, as many of other play. Exact search of them all
    is most of the work: some ten seconds for a million rows."""
    rng = np.random.default_rng(seed)
    groups: list[tuple[str, NDArray[np.float32], Allowed | None]] = [("near", near_queries(segments, count, rng), None)]
    filled = np.flatnonzero(np.diff(segments.offsets))
    if len(filled) > 1:
        chosen = rng.choice(filled, min(_LEFT_OUT, len(filled)), replace=False)
        for number in map(int, chosen):
            flat = rng.integers(*segments.span(number), size=count // len(chosen))
            groups.append(("other play", segments.gather(flat).astype(np.float32), segments.allowed([number])))
    return [
        HeldOut(kind, queries, allowed, np.array([d[0] for _, d in nearest(segments, queries, 1, metric, allowed)]))
        for kind, queries, allowed in groups
    ]


def measure(groups: list[HeldOut], search: Search) -> dict[str, Measured]:
    """By kind."""
    measured = {}
    for kind in dict.fromkeys(group.kind for group in groups):
        found: list[float] = []
        times: list[float] = []
        for group in (group for group in groups if group.kind == kind):
            for query in group.queries:
                begun = time.perf_counter()
                found.append(search(query, group.allowed))
                times.append(time.perf_counter() - begun)
        true = np.concatenate([group.distances for group in groups if group.kind == kind])
        near = np.array(found) <= true * (1 + 1e-9)
        ratios = np.divide(found, true, out=np.ones(len(true)), where=~near & (true > 0))
        p50, p99 = np.percentile(times, (50, 99)) * 1e3
        measured[kind] = Measured(len(true), float(near.mean()), float(ratios.mean()), float(p50), float(p99))
    return measured
