"""The search agent at play: sees frames, follows the rules, and notices when somebody edits its set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.actions import Action
from search_agent.agent import Pitch, SearchRules, SearchSettings, SearchStep, copied_action
from search_agent.demos import Demo, DemoSet
from search_agent.encoder import Encoder, PolicyEncoder, hash_of
from search_agent.nearest import DemoSearcher

LOOK_EVERY = 10
"""Frames between two looks at whether `demos.toml` has changed."""


def chosen(demos: Sequence[Demo], tags: Sequence[str]) -> list[Demo]:
    """The enabled ones, with tags given those that have one of them. Raises ValueError if there are none."""
    found = [demo for demo in demos if demo.enabled and (not tags or set(tags) & set(demo.tags))]
    if not found:
        named = f" with a tag of {', '.join(tags)}" if tags else ""
        there = ", ".join(sorted({tag for demo in demos for tag in demo.tags})) or "none"
        raise ValueError(f"no demonstration{named} is enabled among {len(demos)}; tags there are: {there}")
    return found


def encoder_of(demos: DemoSet) -> Encoder:
    """The model that made the set's latents. Raises ValueError if it is gone, or is not the same any more."""
    info = demos.info
    demos.require(replace(info, sha256=hash_of(info.source)))
    return PolicyEncoder(info.source, seen=info.seen)


class SearchAgent:
    """Plays a set of demonstrations; ``step`` tells what was copied last.

    tags: copy only demonstrations with one of them. encoder: the set's own if None. Raises ValueError for a set that was made
    with another model, or without a usable demonstration.
    """

    def __init__(
        self,
        demos: DemoSet,
        encoder: Encoder | None = None,
        tags: Sequence[str] = (),
        settings: SearchSettings | None = None,
    ) -> None:
        self.set, self.tags, self.settings = demos, tuple(tags), settings or SearchSettings()
        self.encoder, self.problems = encoder or encoder_of(demos), list[str]()
        self._stamp = demos.stamp
        self._take(chosen(self._listed(), self.tags))
        self.reset()

    def _listed(self) -> list[Demo]:
        listing = self.set.read()
        self.problems = listing.problems
        return list(listing.demos.values())

    def _take(self, demos: list[Demo]) -> None:
        self.demos, self._searcher = demos, DemoSearcher(demos)

    def reset(self, observation: Mapping[str, Any] | None = None) -> None:
        """An episode begins."""
        self._frames, self.step = 0, None
        self._stream = self.encoder.stream()
        self._begin()

    step: SearchStep | None

    def _begin(self) -> None:
        self.rules = SearchRules(self.demos, self._searcher, self.settings)
        self._pitch = Pitch(self.demos, self.settings.turn)

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action on seeing ``observation["pov"]``, uint8 (H, W, 3)."""
        if self._frames % LOOK_EVERY == 0:
            self._notice_changes()
        self._frames += 1
        self.step = self.rules.step(self._stream.look(observation["pov"]))
        return copied_action(self.demos[self.step.demo], self.step.demo, self.step.row, self._pitch)

    def _notice_changes(self) -> None:
        stamp = self.set.stamp
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            demos = chosen(self._listed(), self.tags)
        except ValueError as error:  # half-written by hand, or all disabled: go on with what was there
            self.problems = [str(error)]
            return
        own = self._pitch.own
        self._take(demos)
        self._begin()
        self._pitch.own = own


def open_agent(folder: Path, tags: Sequence[str] = (), settings: SearchSettings | None = None) -> SearchAgent:
    """The agent of a set."""
    return SearchAgent(DemoSet(folder), None, tags, settings)
