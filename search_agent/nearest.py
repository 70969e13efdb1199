"""The nearest frames among a set's demonstrations, and how far away they usually are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from search_agent.agent import Match
from search_agent.demos import Demo
from search_agent.index import Budget, LatentIndex, build

SAMPLES = 256
"""Frames whose nearest neighbours tell what is usual."""
CLOSE = 10
"""Frames of one demonstration that lie no further apart are one situation."""


class DemoSearcher:
    """Searches the demonstrations given, which it numbers in their order, by mean absolute difference (ZIP's metric).

    index: one over exactly these demonstrations; one is made if None, exact up to what ``budget`` allows.
    """

    def __init__(self, demos: list[Demo], index: LatentIndex | None = None, budget: Budget | None = None) -> None:
        self.index = index or build([(demo.name, demo.latents) for demo in demos], "l1", budget)
        self._demos = demos
        self.usual = self._usual()

    def _usual(self) -> float:
        """The median, over frames, of the distance to the nearest frame of another demonstration (of the same one, far off in
        time, where there is no other)."""
        ends = np.cumsum([len(demo) for demo in self._demos])
        found = []
        for row in np.unique(np.linspace(0, ends[-1] - 1, min(SAMPLES, int(ends[-1]))).astype(int)):
            demo = int(np.searchsorted(ends, row, "right"))
            latent = self._demos[demo].latents[row - (ends[demo - 1] if demo else 0)]
            if len(self._demos) > 1:
                nearest = self.index.search(latent, without_segments=[demo])
            else:
                away = (max(0, row - 100), min(int(ends[-1]), row + 100))
                if away == (0, int(ends[-1])):
                    continue
                nearest = self.index.search(latent, without_rows=[away])
            found += nearest.distances.tolist()
        # Of one demonstration that is too short to tell: some frames' way.
        return float(np.median(found)) if found else 4 * self._step()

    def _step(self) -> float:
        latents = np.asarray(self._demos[0].latents, np.float32)
        return float(np.abs(np.diff(latents, axis=0)).mean()) if len(latents) > 1 else 1.0

    def search(self, latent: NDArray[np.float32], count: int, extra: Mapping[int, NDArray[np.float32]]) -> list[Match]:
        """See :class:`search_agent.agent.Searcher`. Of frames that follow each other only the best one counts."""
        near = self.index.search(latent, k=16 * count)
        matches = [
            Match(int(demo), int(row), float(distance))
            for demo, row, distance in zip(near.segments, near.rows, near.distances, strict=True)
        ]
        matches.sort(key=lambda m: m.distance + float(extra[m.demo][m.row] if m.demo in extra else 0))
        kept: list[Match] = []
        for match in matches:
            if not any(match.demo == other.demo and abs(match.row - other.row) <= CLOSE for other in kept):
                kept.append(match)
        return kept[:count]

    def distance(self, latent: NDArray[np.float32], demo: int, row: int) -> float:
        """See :class:`search_agent.agent.Searcher`."""
        return float(np.abs(self._demos[demo].latents[row].astype(np.float32) - latent).mean())
