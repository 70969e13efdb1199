"""The rules by which TS-BC, targeted search-based behavioural cloning, copies demonstrations towards a goal.

Code: github.com/JulianBvW/TS-BC (February 2024); it follows ZIP (search_agent/zip_rules.py) and adds a goal. A demonstration
frame is good to copy from if its latent is near the present one (VPT's space) and if within the next seconds its player came
near the goal (MineCLIP's space). Here are the decisions alone, with their defects: embeddings come from anywhere, and a step
names the demonstration frame whose action is played. Latents are float16, queries and distances float32, as published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_agent.published_distances import (
    METRICS,
    checked_latents,
    checked_lengths,
    checked_query,
    distances,
    prepared,
)

FILTERS = {"top 25 %": 1 / 2, "top 5 %": 9 / 10}
"""The published names of the two filters on future goals, and how far below the mean, towards the minimum, each cuts."""


@dataclass(frozen=True)
class TsSettings:
    """distance: one of :data:`METRICS`, in both spaces, unscaled: with sums the wider space has the louder voice.
    max_follow_frames: frames copied before a search is due. goal_window: how many frames may pass until the goal is near.
    diff_threshold: a distance above it counts as drifting. The published one is out of reach, so no drift ever searches.
    redo_search_threshold: how much drifting brings a search. penalty, reach: what the frames around a search's choice cost at
    the next one, and how many to either side; it wears off by 1 a search. settle: the share of max_follow_frames during which
    drifting does not count. warmup_frames, warmup_yaw: the steps at first, which turn by that many degrees to look around.
    """

    distance: str = "cosine"
    max_follow_frames: int = 20
    goal_window: int = 100
    diff_threshold: float = 1e6
    redo_search_threshold: int = 3
    penalty: float = 10.0
    reach: int = 5
    settle: float = 0.33
    warmup_frames: int = 19
    warmup_yaw: float = 20.0

    def __post_init__(self) -> None:
        if self.distance not in METRICS:
            raise ValueError(f"distance is {self.distance!r}, expected one of {', '.join(METRICS)}")
        if self.goal_window < 1:
            raise ValueError(f"goal_window is {self.goal_window}, expected 1 or more frames")


@dataclass(frozen=True)
class TsStep:
    """What one step decided; counters are those after it.

    frame: the demonstration frame whose action is played, counted over all episodes; None means turn by `warmup_yaw`.
    nearest: the choice of the latest search, -1 before the first. follow: frames since it, -1 on the step that searched.
    difference: distance to the frame about to be copied, before any search; 0 before the first.
    """

    searched: bool
    frame: int | None
    nearest: int
    follow: int
    redo_counter: int
    difference: float


class TsRules:
    """State and rules of one player; set a goal, then step."""

    def __init__(
        self,
        latents: NDArray[np.float16],
        goal_latents: NDArray[np.float16],
        lengths: ArrayLike,
        settings: TsSettings | None = None,
    ) -> None:
        """latents: float16 (N, D), of the frames of all episodes one after the other. goal_latents: float16 (N, G), of the
        same frames, in the goal's space. lengths: int (R,), sums to N.
        """
        self.settings = settings or TsSettings()
        if len(latents) != len(goal_latents):
            raise ValueError(f"goal_latents has {len(goal_latents)} frames, expected the {len(latents)} of latents")
        metric = self.settings.distance
        self.latents, self.goal_latents = (prepared(checked_latents(a), metric) for a in (latents, goal_latents))
        self.is_last = np.zeros(len(latents), bool)
        self.is_last[np.cumsum(checked_lengths(lengths, len(latents))) - 1] = True
        self.goal_cost: NDArray[np.float32] | None = None
        self.reset()

    def reset(self) -> None:
        """Begin an episode; the goal stays."""
        self.steps, self.follow, self.nearest, self.redo_counter = 0, -1, -1, 0
        self.penalties = np.zeros(len(self.latents), np.float32)

    def set_goal(self, goal: ArrayLike) -> None:
        """goal: (G,), an embedding in the goal's space (published: STEVE-1's prior of a text)."""
        away = distances(self.goal_latents, checked_query(goal, self.goal_latents), self.settings.distance)
        self.goal_cost = future_minimum(away, self.settings.goal_window)

    def step(self, latent: ArrayLike) -> TsStep:
        """latent: (D,), of the frame seen now."""
        query = checked_query(latent, self.latents)
        if self.goal_cost is None:
            raise ValueError("no goal to search for; expected set_goal before step")
        self.steps += 1
        self.follow += 1
        if self.steps <= self.settings.warmup_frames:
            return TsStep(False, None, self.nearest, self.follow, self.redo_counter, 0.0)
        difference, searched = 0.0, self.nearest < 0
        if not searched:
            difference = self._drift(query)
            searched = (
                self.follow > self.settings.max_follow_frames
                or bool(self.is_last[self.nearest + self.follow])
                or self.redo_counter >= self.settings.redo_search_threshold
            )
        if searched:
            self._search(query, self.goal_cost)
        # Published off-by-one: -1 is set by a search for the next step to count up from, but is used at once. So the frame
        # before the match is played first, which may belong to another episode, and for the first frame is the very last.
        frame = (self.nearest + self.follow) % len(self.latents)
        return TsStep(searched, frame, self.nearest, self.follow, self.redo_counter, difference)

    def _drift(self, query: NDArray[np.float32]) -> float:
        """The distance to the frame about to be copied; counts it unless the search was a moment ago."""
        frame = self.nearest + self.follow
        difference = float(distances(self.latents[frame : frame + 1], query, self.settings.distance)[0])
        if self.follow >= self.settings.settle * self.settings.max_follow_frames:
            drifting = difference > self.settings.diff_threshold
            self.redo_counter = self.redo_counter + 1 if drifting else max(0, self.redo_counter - 1)
        return difference

    def _search(self, query: NDArray[np.float32], goal_cost: NDArray[np.float32]) -> None:
        self.penalties = np.maximum(self.penalties - 1, 0)
        costs = goal_cost + distances(self.latents, query, self.settings.distance) + self.penalties
        self.nearest = int(costs.argmin())
        reach = self.settings.reach
        self.penalties[max(0, self.nearest - reach) : self.nearest + reach] = self.settings.penalty
        self.follow, self.redo_counter = -1, 0


def future_minimum(values: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """float32 (N,): the least of each value and the `window` - 1 after it, fewer at the end; borders of episodes are crossed.

    Windows are as long as blocks, so each is a block's rest and the next one's beginning: two passes for any window.
    """
    blocks = -(-len(values) // window) + 1
    padded = np.full((blocks, window), np.inf, np.float32)
    padded.ravel()[: len(values)] = values
    rests = np.minimum.accumulate(padded[:, ::-1], 1)[:, ::-1].ravel()
    beginnings = np.minimum.accumulate(padded, 1).ravel()
    return np.minimum(rests[: len(values)], beginnings[window - 1 : window - 1 + len(values)])


def goal_filter(goal_cost: NDArray[np.float32], cut: float) -> NDArray[np.bool_]:
    """bool (N,): frames that come near the goal, by a cut of :data:`FILTERS`. Published, printed, and then not used."""
    mean, least = goal_cost.mean(), goal_cost.min()
    return np.asarray(goal_cost < mean - (mean - least) * np.float32(cut))
