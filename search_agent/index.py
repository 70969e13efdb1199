"""The nearest-neighbour index of the search agent: exact while that is quick enough, else approximate and ranked exactly.

    index = build([("a", "latents/a.npy"), ("b", "latents/b.npy")], metric="l1")
    print(index.report())                       # what was chosen and why, and how often it finds the nearest row
    found = index.search(latent, k=5, without_segments=[1])
    index.append([("c", "latents/c.npy")]); index.remove("a"); index.save("demos/index")

What is found is always ordered by the exact distance, from the full float16 rows, which stay where they are: an index is at
most codes beside them (`approximate.py`), and without faiss there is still exact search (`exact.py`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_agent import index_files
from search_agent.budget import Budget, choose, tune
from search_agent.distances import METRICS, Metric, exact_distances
from search_agent.exact import nearest, rank
from search_agent.held_out import held_out, measure
from search_agent.index_files import About
from search_agent.segments import Allowed, Left, Segment, Segments, Source

if TYPE_CHECKING:
    from search_agent.approximate import Approximate

__all__ = ["Budget", "LatentIndex", "Neighbours", "build", "open_index"]

_FEW_ROWS = 32_768
"""So many allowed rows are compared one by one by an approximate index, too: some milliseconds, and nothing is missed."""


@dataclass(frozen=True)
class Neighbours:
    """Rows found, nearest first, of equals the one that comes first in the index: segment numbers (k), rows there (k),
    distances (k) in the index's metric."""

    segments: NDArray[np.int64]
    rows: NDArray[np.int64]
    distances: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


class LatentIndex:
    """Segments of latents and how to search them. Made by `build` or `open_index`."""

    def __init__(self, segments: Segments, about: About, approximate: Approximate | None = None) -> None:
        self.segments, self.about, self._approximate = segments, about, approximate
        self._leaving = functools.lru_cache(4)(segments.allowed)

    @property
    def metric(self) -> Metric:
        return self.about.metric

    @property
    def names(self) -> list[str]:
        """Of the segments, in their order."""
        return list(self.segments.numbers)

    def __len__(self) -> int:
        return self.segments.rows

    def search(
        self,
        query: NDArray[Any],
        k: int = 1,
        without_segments: Collection[int] = (),
        without_rows: Left | None = None,
    ) -> Neighbours:
        """The k rows nearest to ``query`` (D); fewer where fewer may be found.

        without_segments: numbers of segments to leave out; without_rows: a mask (N) of flat rows to leave out, or ranges
        (first, last) of them. Raises ValueError for a query of another length or with numbers that are not finite.
        """
        point = np.ascontiguousarray(query, np.float32)
        if point.shape != (self.segments.dims,) or not np.isfinite(point).all():
            found = f"shape {point.shape}" if point.shape != (self.segments.dims,) else "numbers that are not finite"
            raise ValueError(
                f"expected a query of {self.segments.dims} finite numbers, as the latents have, found {found}"
            )
        if k < 1:
            raise ValueError(f"cannot search for the {k} nearest rows; ask for one or more")
        allowed = self._leaving(frozenset(without_segments))
        if without_rows is not None:
            allowed = self.segments.allowed(without_segments, without_rows)
        flat, distances = self._nearest(point, k, allowed)
        return Neighbours(*self.segments.locate(flat), distances)

    def distance(self, query: NDArray[Any], segment: int, row: int) -> float:
        """The distance of ``query`` (D) to one row, in the same metric and precision as a search's."""
        latents = self.segments.all[segment].latents[row]
        return float(exact_distances(latents[None], np.asarray(query, np.float32), self.metric)[0])

    def _nearest(
        self, query: NDArray[np.float32], k: int, allowed: Allowed | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        available = self.segments.rows if allowed is None else allowed.count
        if self._approximate is None or available <= _FEW_ROWS:
            return nearest(self.segments, query[None], k, self.metric, allowed)[0]
        probes, depth = self.about.probes, max(self.about.depth, 4 * k)
        flat = self._approximate.candidates(query, depth, probes, allowed)
        while len(flat) < min(k, available) and probes < self._approximate.lists:  # most of these lists is left out
            probes *= 4
            flat = self._approximate.candidates(query, depth, probes, allowed)
        return rank(self.segments, flat, query, k, self.metric)

    def append(self, sources: Sequence[tuple[str, Source]]) -> None:
        """Add segments behind the others. Exact search has nothing to do for it; otherwise their rows are coded."""
        before = self.segments.rows
        segments = Segments([*self.segments.all, *(Segment.of(name, source) for name, source in sources)])
        if self._approximate is not None and segments.rows > before:
            segments.require_finite(before)
            self._approximate.add(segments)
            added, all_added = segments.rows - before, self.about.added + segments.rows - before
            spread = self._approximate.spread(segments, before)
            spread = (self.about.added_spread * self.about.added + spread * added) / all_added
            self.about = replace(self.about, added=all_added, added_spread=spread)
        self._hold(segments)

    def remove(self, name: str) -> None:
        """Take a segment out: its rows, and their codes, are gone, and later segments are counted down."""
        number = self.segments.number(name)
        rest = Segments([segment for segment in self.segments.all if segment.name != name])
        if self._approximate is not None:
            self._approximate.remove(*self.segments.span(number))
            self.about = replace(self.about, removed=self.about.removed + self.segments.rows - rest.rows)
        self._hold(rest)

    def _hold(self, segments: Segments) -> None:
        self.segments, self.about = segments, replace(self.about, rows=segments.rows)
        self._leaving = functools.lru_cache(4)(segments.allowed)

    def outdated(self) -> str | None:
        """Why it should be built again (`rebuilt`), or None: it has drifted from the rows that it was made for."""
        about, limit = self.about, Budget(**self.about.budget)
        if self._approximate is None:
            now = about.exact_ms * about.rows / max(about.built_rows, 1)
            if now > limit.latency_ms >= about.exact_ms and limit.kind == "auto":
                return (
                    f"exact search of {about.rows} rows takes about {now:.0f} ms, over the {limit.latency_ms:g} allowed"
                )
        elif about.added + about.removed > about.built_rows / 2:
            return f"{about.added} rows came and {about.removed} went since it was made for {about.built_rows}"
        elif about.added > about.built_rows / 20 and about.added_spread > 2 * about.spread:
            return f"rows added lie {about.added_spread / about.spread:.1f} times as far from its centres as its own"
        return None

    def rebuilt(self) -> LatentIndex:
        """A fresh index of the same segments, chosen anew. No latent is encoded again."""
        return _build(self.segments, self.metric, Budget(**self.about.budget))

    def measured(self, count: int = 128, seed: int = 1) -> LatentIndex:
        """The same index with its recall and times measured again, on fresh queries."""
        groups = held_out(self.segments, self.metric, count, seed)
        measured = measure(groups, lambda query, allowed: float(self._nearest(query, 1, allowed)[1][0]))
        about = replace(self.about, recall={kind: result.to_dict() for kind, result in measured.items()})
        return LatentIndex(self.segments, about, self._approximate)

    def report(self) -> str:
        """What it is, why, and how well it was measured to do."""
        lines = [
            f"{self.about.kind} index of {self.about.rows} rows in {len(self.segments)} segments: {self.about.reason}"
        ]
        if self._approximate is None:
            lines.append("  every search compares all rows: recall@1 is 1")
        for kind, found in self.about.recall.items():
            lines.append(
                f"  {kind}: recall@1 {found['recall']:.3f}, found rows {found['farther']:.4f} times as far, "
                f"p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms, {found['queries']:.0f} queries"
            )
        return "\n".join(lines)

    def save(self, folder: Path | str) -> None:
        """Write it: about.json and codes, not the latents, which about.json refers to. A killed save changes nothing."""
        self.about = index_files.save(Path(folder), self.segments, self.about, self._approximate)


def build(
    sources: Sequence[tuple[str, Source]],
    metric: Metric = "l1",
    budget: Budget | None = None,
) -> LatentIndex:
    """An index of named segments, in their order: exact if the budget allows it, as measured here and now, else approximate.

    Exact search needs no building. Else recall and times are measured on held-out queries and kept with the index; latents are
    read block by block, and memory stays within the budget. Rows that hold anything but finite numbers are never found by
    exact search, and refused otherwise.
    Raises ValueError for latents that do not fit together, or a budget that nothing fits.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r} (there are {', '.join(METRICS)})")
    return _build(Segments([Segment.of(name, source) for name, source in sources]), metric, budget or Budget())


def _build(segments: Segments, metric: Metric, budget: Budget) -> LatentIndex:
    begun = time.perf_counter()
    choice = choose(segments, metric, budget)
    about = About(
        metric=metric,
        dims=segments.dims,
        rows=segments.rows,
        built_rows=segments.rows,
        code=choice.code,
        reason=choice.reason,
        exact_ms=choice.exact_ms,
        budget=budget.to_dict(),
    )
    if choice.code is None:
        index = LatentIndex(segments, about)
    else:
        from search_agent.approximate import Approximate

        segments.require_finite()
        approximate = Approximate.trained(segments, metric, choice.code)
        approximate.add(segments)
        settings = tune(segments, metric, approximate, budget)
        about = replace(
            about,
            probes=settings.probes,
            depth=settings.depth,
            recall={kind: result.to_dict() for kind, result in settings.recall.items()},
            spread=approximate.spread(segments),
            reason=f"{about.reason}; {settings.reason}",
        )
        index = LatentIndex(segments, about, approximate)
    index.about = replace(index.about, build_s=round(time.perf_counter() - begun, 1))
    return index


def open_index(folder: Path | str, sources: dict[str, Source] | None = None) -> LatentIndex:
    """An index that was saved; latents and codes are memory-mapped.

    sources: where segments' latents are, by name, if not where they were. Raises ValueError, saying what was expected and
    found and what to do, for anything missing, damaged, of another version, or not what was indexed.
    """
    return LatentIndex(*index_files.load(Path(folder), sources or {}))
