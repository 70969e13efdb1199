"""The nearest frames among a set's demonstrations, and how far away they usually are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from search_agent.agent import Match
from search_agent.demos import Demo

SAMPLES = 256
"""Frames whose nearest neighbours tell what is usual."""


class DemoSearcher:
    """Exact search by mean absolute difference (ZIP's metric) over the demonstrations given, numbered in their order."""

    def __init__(self, demos: list[Demo]) -> None:
        self._ends = np.cumsum([len(demo) for demo in demos])
        self._store = np.concatenate([np.asarray(demo.latents, np.float32) for demo in demos])
        self.usual = self._usual()

    def _distances(self, latent: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.abs(self._store - latent).mean(1)
        return found

    def _rows(self, demo: int) -> slice:
        end = int(self._ends[demo])
        return slice(int(self._ends[demo - 1]) if demo else 0, end)

    def _usual(self) -> float:
        """The median, over frames, of the distance to the nearest frame of another demonstration (of the same one, far off in
        time, where there is no other)."""
        rows = np.unique(np.linspace(0, len(self._store) - 1, SAMPLES).astype(int))
        nearest = []
        for row in rows:
            distances = self._distances(self._store[row])
            own = self._rows(int(np.searchsorted(self._ends, row, "right")))
            if len(self._ends) == 1:
                own = slice(max(0, row - 100), row + 100)
            distances[own] = np.inf
            nearest.append(distances.min())
        finite = np.array(nearest)[np.isfinite(nearest)]
        return float(np.median(finite)) if len(finite) else float(np.abs(np.diff(self._store, axis=0)).mean() * 4)

    def search(self, latent: NDArray[np.float32], count: int, extra: Mapping[int, NDArray[np.float32]]) -> list[Match]:
        """See :class:`search_agent.agent.Searcher`. Of frames that follow each other only the nearest one counts."""
        distances = self._distances(latent)
        costs = distances.copy()
        for demo, more in extra.items():
            costs[self._rows(demo)] += more
        found = []
        for _ in range(count):
            row = int(costs.argmin())
            if not np.isfinite(costs[row]):
                break
            demo = int(np.searchsorted(self._ends, row, "right"))
            own = self._rows(demo)
            found.append(Match(demo, row - own.start, float(distances[row])))
            costs[max(own.start, row - 10) : min(own.stop, row + 11)] = np.inf
        return found

    def distance(self, latent: NDArray[np.float32], demo: int, row: int) -> float:
        """See :class:`search_agent.agent.Searcher`."""
        return float(np.abs(self._store[self._rows(demo).start + row] - latent).mean())
