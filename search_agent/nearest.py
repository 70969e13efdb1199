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
PASSES = 3
"""Times that a search looks on without the demonstrations that have had their share."""


class DemoSearcher:
    """Searches the demonstrations given, which it numbers in their order, by mean absolute difference (ZIP's metric).

    index: one over exactly these demonstrations; one is made if None, exact up to what ``budget`` allows.
    """

    def __init__(self, demos: list[Demo], index: LatentIndex | None = None, budget: Budget | None = None) -> None:
        self.index = index or build([(_segment(demo), demo.latents) for demo in demos], "l1", budget)
        self._demos = demos
        apart = ~np.concatenate([demo.copied for demo in demos])
        self._apart = apart if apart.any() else None
        """Flat rows that are not to be copied, and so not searched for."""
        self.usual = self._usual()

    def _usual(self) -> float:
        """The median, over frames, of the distance to the nearest frame of another demonstration (of the same one, far off in
        time, where there is no other).

        Never less than a quarter of a frame's way to the next: of demonstrations that are there twice, under two names, all
        have a neighbour at no distance, and any play would count as diverged.
        """
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
        return max(float(np.median(found)), 0.25 * self._step()) if found else 4 * self._step()

    def _step(self) -> float:
        """How far a frame is from the next one, in the median over some of each demonstration's frames."""
        steps = []
        for demo in self._demos:
            for row in np.unique(np.linspace(0, len(demo) - 2, max(1, SAMPLES // len(self._demos))).astype(int)):
                if row >= 0 and len(demo) > 1:
                    near = np.asarray(demo.latents[row : row + 2], np.float32)
                    steps.append(float(np.abs(near[1] - near[0]).mean()))
        return (float(np.median(steps)) if steps else 0.0) or 1.0

    def search(self, latent: NDArray[np.float32], count: int, extra: Mapping[int, NDArray[np.float32]]) -> list[Match]:
        """See :class:`search_agent.agent.Searcher`. Of frames that follow each other only the best one counts, and no
        demonstration has more than its share of the situations (two in any case), as long as others have any."""
        share = max(2, -(-count // len(self._demos)))
        kept, full = list[Match](), set[int]()
        for _ in range(PASSES):
            before = len(full)
            for match in self._near(latent, 16 * count, full, extra):
                mine = [other for other in kept if other.demo == match.demo]
                if len(mine) < share and all(abs(match.row - other.row) > CLOSE for other in mine):
                    kept.append(match)
                    if len(mine) + 1 == share:
                        full.add(match.demo)
            if len(kept) >= count or len(full) in (before, len(self._demos)):
                break
        return sorted(kept, key=lambda match: match.cost)[:count]

    def _near(
        self, latent: NDArray[np.float32], count: int, without: set[int], extra: Mapping[int, NDArray[np.float32]]
    ) -> list[Match]:
        """The nearest frames, by cost."""
        near = self.index.search(latent, count, without, self._apart)
        matches = []
        for demo, row, distance in zip(
            near.segments.tolist(), near.rows.tolist(), near.distances.tolist(), strict=True
        ):
            cost = distance + float(extra[demo][row] if demo in extra else 0)
            matches.append(Match(demo, row, distance, cost))
        return sorted(matches, key=lambda match: match.cost)

    def distance(self, latent: NDArray[np.float32], demo: int, row: int) -> float:
        """See :class:`search_agent.agent.Searcher`."""
        return float(np.abs(self._demos[demo].latents[row].astype(np.float32) - latent).mean())


def _segment(demo: Demo) -> str:
    """A name of its own for each way round; no demonstration's has a stroke."""
    return f"{demo.name}/turned" if demo.turned else demo.name
