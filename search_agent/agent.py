"""Copies the nearest demonstration until play and demonstration diverge, then searches again.

After ZIP (Malato et al. 2022, arXiv 2212.13326), mended; the published rules are in search_agent/zip_rules.py. What differs:

* Trajectories have ends: a copy never runs on into the next demonstration.
* Where a player's hand slipped, or a novice had its turn, nothing is copied: a copy ends there, and none begins.
* Whether play has diverged is measured by the set's own distances, not by numbers that suit one network: further away than
  one demonstration's nearest neighbour in the others usually is.
* A search looks at several near situations and takes the one whose next actions most of them agree with.
* Copies that led nowhere cost something for a while, so that the agent does not try the same thing for ever.
* The pitch follows the demonstration's own, summed up since its start; nothing is rounded, and no demonstration is edited
  (search_agent/pitch.py).
* Something may be wished for (after TS-BC, search_agent/ts_rules.py): of the near situations those are rather copied whose next
  seconds reach it, and a copy ends where its next seconds do no longer (search_agent/wishes.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from search_agent.demos import Demo

TURN = 5.0
"""Degrees by which turns must differ to count as much as other keys."""
MOST_HOPE = 3.0
"""Deviations that a situation's hope counts for at most, either way: one very good moment must not outweigh any distance."""


@dataclass(frozen=True)
class SearchSettings:
    """When to search, and for what. Frames are of the set's rate.

    longest: frames after which a copy ends in any case. settle: frames during which a new copy is not doubted. drift: how many
    times the distance at the search counts as diverged; never less than the usual distance of situations, and never more than
    ``most`` times that, so that a poor match does not excuse itself. patience: so many diverged frames, more than others, end
    a copy. lost: times the usual distance at which it ends at once. neighbours,
    horizon: how many situations are compared by how many of their next actions. stale, reach, forget: what a copy that
    ended by diverging adds to the distance of the frames around its beginning, in usual distances; how many to either side;
    and the share of it that is forgotten with each search. turn: degrees an axis that the pitch is corrected by in a frame.

    Where something is wished for: wish: by how many usual distances a situation may be farther away for each deviation by
    which its future reaches the wish better. ahead: frames of that future. crowd: how many situations are weighed so; those
    that are farther away than a copy may be (``most``) only where all are. hopeless: frames after which a copy that never had
    any hope is given up.
    """

    longest: int = 200
    settle: int = 4
    drift: float = 1.5
    most: float = 1.5
    patience: int = 6
    lost: float = 2.5
    neighbours: int = 8
    horizon: int = 8
    stale: float = 0.5
    reach: int = 8
    forget: float = 0.1
    turn: float = 10.0
    wish: float = 0.5
    ahead: int = 100
    crowd: int = 32
    hopeless: int = 20


@dataclass(frozen=True)
class Match:
    """A demonstration's frame. distance: in the set's metric, from what was seen; cost: with what was added to it."""

    demo: int
    row: int
    distance: float
    cost: float


class Searcher(Protocol):
    """Finds near frames among demonstrations, which it numbers."""

    def search(self, latent: NDArray[np.float32], count: int, extra: Mapping[int, NDArray[np.float32]]) -> list[Match]:
        """The ``count`` situations of least cost, best first, of several demonstrations where there are several. extra: what
        is added to the distances of some demonstrations' frames, (T,) each."""

    def distance(self, latent: NDArray[np.float32], demo: int, row: int) -> float:
        """To one frame."""

    usual: float
    """How far a situation usually is from the nearest one of another demonstration."""


@dataclass(frozen=True)
class SearchStep:
    """What one step decided. demo, row: the frame that is copied; distance: to it; limit: beyond which the copy is doubted; why
    it was searched for just now, "" where the copy went on. left: where a copy was left for another one, the distance to the
    frame that would have been copied next, if there is one. hope: how much better than chance the copy's next seconds reach
    what is wished for, in deviations; None: nothing is."""

    demo: int
    row: int
    distance: float
    limit: float
    why: str
    left: float | None = None
    hope: float | None = None

    @property
    def searched(self) -> bool:
        return bool(self.why)


class SearchRules:
    """One episode's decisions: latents in, demonstration frames out."""

    def __init__(self, demos: list[Demo], searcher: Searcher, settings: SearchSettings | None = None) -> None:
        self.settings = settings or SearchSettings()
        self.demos, self.searcher = demos, searcher
        self.stale: dict[int, NDArray[np.float32]] = {}
        self._hopes: Sequence[NDArray[np.float32]] | None = None
        self._demo = self._begin = -1
        self._copied = self._doubts = 0
        self._found = self._hoped = 0.0
        self._asked = False

    def want(self, hopes: Sequence[NDArray[np.float32]] | None) -> None:
        """What is wished for from now on. hopes: for each demonstration (T,), of :func:`search_agent.wishes.hopes`; None:
        nothing. It is searched for in the next step."""
        if hopes is not None and [len(one) for one in hopes] != [len(demo) for demo in self.demos]:
            raise ValueError(
                f"hopes of {[len(one) for one in hopes]} frames, expected those of the demonstrations, "
                f"{[len(demo) for demo in self.demos]}"
            )
        self._hopes, self._asked = hopes, self._demo >= 0

    def step(self, latent: NDArray[np.float32]) -> SearchStep:
        """latent: float32 (D,), of the frame seen now."""
        row = self._begin + self._copied
        why, distance = self._why_search(latent, row)
        left = distance
        if why:
            if why in ("diverged", "lost"):
                self._blame()
            match = self._choose(latent)
            self._demo, self._begin, self._copied, self._doubts = match.demo, match.row, 0, 0
            self._found = distance = match.distance
            self._hoped, self._asked = self._hope(match.demo, match.row) or 0.0, False
            row = match.row
        self._copied += 1
        assert distance is not None  # only None where there was nothing to copy, and then something was found
        return SearchStep(
            self._demo, row, distance, self.limit, why, left if why else None, self._hope(self._demo, row)
        )

    @property
    def limit(self) -> float:
        """The distance beyond which the copy is doubted."""
        settings, usual = self.settings, self.searcher.usual
        return max(usual, min(settings.drift * self._found, settings.most * usual))

    def _hope(self, demo: int, row: int) -> float | None:
        return None if self._hopes is None else float(self._hopes[demo][row])

    def _why_search(self, latent: NDArray[np.float32], row: int) -> tuple[str, float | None]:
        """Why another copy is due, "" if none is; and the distance to the frame at hand, if there is one. gap: it is not to be
        copied."""
        settings, usual = self.settings, self.searcher.usual
        if self._demo < 0:
            return "begin", None
        if row >= len(self.demos[self._demo]):
            return "end", None
        distance = self.searcher.distance(latent, self._demo, row)
        diverged = distance > self.limit
        self._doubts = self._doubts + 1 if diverged else max(0, self._doubts - 1)
        if self._asked:
            return "asked", distance
        if not self.demos[self._demo].copied[row]:
            return "gap", distance
        if self._copied < settings.settle:
            return "", distance
        if self._copied >= settings.longest:
            return "long", distance
        if distance > settings.lost * usual:
            return "lost", distance
        if self._doubts >= settings.patience:
            return "diverged", distance
        return ("wish" if self._gives_up_hope(row) else ""), distance

    def _gives_up_hope(self, row: int) -> bool:
        """Whether a copy's future reaches the wish no better than chance. One that never did is given some time: where nothing
        near is any better, it leads elsewhere at least."""
        hope = self._hope(self._demo, row)
        return hope is not None and hope <= 0 and (self._hoped > 0 or self._copied >= self.settings.hopeless)

    def _blame(self) -> None:
        """What was copied last led away from the demonstration: rather something else next time."""
        settings = self.settings
        costs = self.stale.setdefault(self._demo, np.zeros(len(self.demos[self._demo]), np.float32))
        costs[max(0, self._begin - settings.reach) : self._begin + settings.reach] += (
            settings.stale * self.searcher.usual
        )

    def _choose(self, latent: NDArray[np.float32]) -> Match:
        settings, usual = self.settings, self.searcher.usual
        for costs in self.stale.values():
            costs *= 1 - settings.forget
        if self._hopes is None:
            found = self.searcher.search(latent, settings.neighbours, self.stale)
        else:
            found = self.searcher.search(latent, settings.crowd, self.stale)
            most = max(settings.most * usual, min(match.distance for match in found))
            hoped = [self._hoping(match, self._hopes) for match in found if match.distance <= most]
            found = sorted(hoped, key=lambda match: match.cost)[: settings.neighbours]
        return found[0] if len(found) < 3 else found[self._agreed(found)]

    def _hoping(self, match: Match, hopes: Sequence[NDArray[np.float32]]) -> Match:
        """The match, at less or more cost for what its future makes hope for."""
        hope = min(MOST_HOPE, max(-MOST_HOPE, float(hopes[match.demo][match.row])))
        return replace(match, cost=match.cost - self.settings.wish * self.searcher.usual * hope)

    def _agreed(self, found: list[Match]) -> int:
        """Which of the matches most others agree with, each as much as it costs little."""
        keys, turns = zip(*(self._plan(match) for match in found), strict=True)
        held = np.stack(keys)  # (K, horizon, buttons)
        both = (held[:, None] & held[None]).sum(3)
        either = (held[:, None] | held[None]).sum(3)
        # Of the keys held by either, how many by one alone.
        apart = np.where(either > 0, 1 - both / np.maximum(either, 1), 0.0)
        apart = apart + np.abs(np.stack(turns)[:, None] - np.stack(turns)[None]).mean(3) / TURN
        agree = np.exp(-2 * apart.mean(2))
        costs = np.array([match.cost for match in found])
        weight = np.exp(-(costs - costs[0]) / max(0.25 * self.searcher.usual, 1e-9))
        return int(((agree * weight).sum(1) * weight).argmax())

    def _plan(self, match: Match) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The next actions from a match on: keys held (horizon, buttons) and turns in degrees (horizon, 2)."""
        track, last = self.demos[match.demo].track, len(self.demos[match.demo]) - 1
        rows = np.minimum(np.arange(match.row, match.row + self.settings.horizon), last)
        return track.buttons[rows], track.camera[rows]


def describe(step: SearchStep | None, demos: list[Demo]) -> dict[str, Any]:
    """A step as a line of a log. None: nothing was copied."""
    if step is None:
        return {
            "demo": "",
            "frame": 0,
            "turned": False,
            "searched": "",
            "distance": 0.0,
            "limit": 0.0,
            "left": None,
            "hope": None,
        }
    return {
        "demo": demos[step.demo].name,
        "frame": int(demos[step.demo].rows[step.row]),
        "turned": demos[step.demo].turned,
        "searched": step.why,
        "distance": round(step.distance, 5),
        "limit": round(step.limit, 5),
        "left": None if step.left is None else round(step.left, 5),
        "hope": None if step.hope is None else round(step.hope, 3),
    }
