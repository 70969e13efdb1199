"""Copies the nearest demonstration until play and demonstration diverge, then searches again.

After ZIP (Malato et al. 2022, arXiv 2212.13326), mended; the published rules are in search_agent/zip_rules.py. What differs:

* Trajectories have ends: a copy never runs on into the next demonstration.
* Whether play has diverged is measured by the set's own distances, not by numbers that suit one network: further away than
  one demonstration's nearest neighbour in the others usually is.
* A search looks at several near situations and takes the one whose next actions most of them agree with.
* Copies that led nowhere cost something for a while, so that the agent does not try the same thing for ever.
* The pitch follows the demonstration's own, summed up since its start; nothing is rounded, and no demonstration is edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.actions import Action
from search_agent.demos import Demo

TURN = 5.0
"""Degrees by which turns must differ to count as much as other keys."""


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


@dataclass(frozen=True)
class Match:
    """A demonstration's frame. distance: in the set's metric, from what was seen."""

    demo: int
    row: int
    distance: float


class Searcher(Protocol):
    """Finds near frames among demonstrations, which it numbers."""

    def search(self, latent: NDArray[np.float32], count: int, extra: Mapping[int, NDArray[np.float32]]) -> list[Match]:
        """The nearest, best first. extra: what is added to the distances of some demonstrations' frames, (T,) each."""

    def distance(self, latent: NDArray[np.float32], demo: int, row: int) -> float:
        """To one frame."""

    usual: float
    """How far a situation usually is from the nearest one of another demonstration."""


@dataclass(frozen=True)
class SearchStep:
    """What one step decided. demo, row: the frame that is copied; distance: to it; limit: beyond which the copy is doubted; why
    it was searched for just now, "" where the copy went on."""

    demo: int
    row: int
    distance: float
    limit: float
    why: str

    @property
    def searched(self) -> bool:
        return bool(self.why)


class SearchRules:
    """One episode's decisions: latents in, demonstration frames out."""

    def __init__(self, demos: list[Demo], searcher: Searcher, settings: SearchSettings | None = None) -> None:
        self.settings = settings or SearchSettings()
        self.demos, self.searcher = demos, searcher
        self.stale: dict[int, NDArray[np.float32]] = {}
        self._demo = self._begin = -1
        self._copied = self._doubts = 0
        self._found = 0.0

    def step(self, latent: NDArray[np.float32]) -> SearchStep:
        """latent: float32 (D,), of the frame seen now."""
        row = self._begin + self._copied
        why, distance = self._why_search(latent, row)
        if why:
            if why in ("diverged", "lost"):
                self._blame()
            match = self._choose(latent)
            self._demo, self._begin, self._copied, self._doubts = match.demo, match.row, 0, 0
            self._found = distance = match.distance
            row = match.row
        self._copied += 1
        return SearchStep(self._demo, row, distance, self.limit, why)

    @property
    def limit(self) -> float:
        """The distance beyond which the copy is doubted."""
        settings, usual = self.settings, self.searcher.usual
        return max(usual, min(settings.drift * self._found, settings.most * usual))

    def _why_search(self, latent: NDArray[np.float32], row: int) -> tuple[str, float]:
        settings, usual = self.settings, self.searcher.usual
        if self._demo < 0:
            return "begin", 0.0
        if row >= len(self.demos[self._demo]):
            return "end", 0.0
        distance = self.searcher.distance(latent, self._demo, row)
        diverged = distance > self.limit
        self._doubts = self._doubts + 1 if diverged else max(0, self._doubts - 1)
        if self._copied < settings.settle:
            return "", distance
        if self._copied >= settings.longest:
            return "long", distance
        if distance > settings.lost * usual:
            return "lost", distance
        return ("diverged" if self._doubts >= settings.patience else ""), distance

    def _blame(self) -> None:
        """What was copied last led away from the demonstration: rather something else next time."""
        settings = self.settings
        costs = self.stale.setdefault(self._demo, np.zeros(len(self.demos[self._demo]), np.float32))
        costs[max(0, self._begin - settings.reach) : self._begin + settings.reach] += (
            settings.stale * self.searcher.usual
        )

    def _choose(self, latent: NDArray[np.float32]) -> Match:
        settings = self.settings
        for costs in self.stale.values():
            costs *= 1 - settings.forget
        found = self.searcher.search(latent, settings.neighbours, self.stale)
        return found[0] if len(found) < 3 else found[self._agreed(found)]

    def _agreed(self, found: list[Match]) -> int:
        """Which of the matches most others agree with, each as much as it is near."""
        keys, turns = zip(*(self._plan(match) for match in found), strict=True)
        held = np.stack(keys)  # (K, horizon, buttons)
        both = (held[:, None] & held[None]).sum(3)
        either = (held[:, None] | held[None]).sum(3)
        # Of the keys held by either, how many by one alone.
        apart = np.where(either > 0, 1 - both / np.maximum(either, 1), 0.0)
        apart = apart + np.abs(np.stack(turns)[:, None] - np.stack(turns)[None]).mean(3) / TURN
        agree = np.exp(-2 * apart.mean(2))
        near = np.array([match.distance for match in found])
        weight = np.exp(-(near - near[0]) / max(0.25 * self.searcher.usual, 1e-9))
        return int(((agree * weight).sum(1) * weight).argmax())

    def _plan(self, match: Match) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The next actions from a match on: keys held (horizon, buttons) and turns in degrees (horizon, 2)."""
        track, last = self.demos[match.demo].track, len(self.demos[match.demo]) - 1
        rows = np.minimum(np.arange(match.row, match.row + self.settings.horizon), last)
        return track.buttons[rows], track.camera[rows]


class Pitch:
    """Follows the demonstrations' pitch, as far as turns can be summed up: up and down end at 90 degrees."""

    def __init__(self, demos: list[Demo], limit: float) -> None:
        self._limit, self.own = limit, 0.0
        self._theirs = [self._looks(demo) for demo in demos]

    @staticmethod
    def _looks(demo: Demo) -> NDArray[np.float32]:
        """Degrees at which a demonstrator looks after each frame, from 0 at the start; a GUI's mouse moves no view."""
        looks, look = np.empty(len(demo), np.float32), 0.0
        moves = np.where(demo.track.gui_open, 0.0, demo.track.camera[:, 0]).tolist()
        for frame, move in enumerate(moves):
            look = looks[frame] = min(90.0, max(-90.0, look + move))
        return looks

    def turn(self, demo: Demo, number: int, row: int) -> float:
        """Degrees to turn down by, instead of the demonstration's own."""
        if demo.track.gui_open[row]:
            return float(demo.track.camera[row, 0])
        wanted = float(self._theirs[number][row]) - self.own
        turn = min(self._limit, max(-self._limit, wanted))
        self.own = min(90.0, max(-90.0, self.own + turn))
        return turn


def copied_action(demo: Demo, number: int, row: int, pitch: Pitch) -> Action:
    """The demonstration's action, with the pitch steered to its own."""
    action = demo.track.action(row)
    return Action(action.buttons, (pitch.turn(demo, number, row), action.camera[1]))


def describe(step: SearchStep, demos: list[Demo]) -> dict[str, Any]:
    """A step as a line of a log."""
    return {
        "demo": demos[step.demo].name,
        "frame": int(demos[step.demo].rows[step.row]),
        "searched": step.why,
        "distance": round(step.distance, 5),
        "limit": round(step.limit, 5),
    }
