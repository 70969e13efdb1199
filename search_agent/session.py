"""The search agent at play: sees frames, follows the rules, and notices when somebody edits its set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import Action
from prior.locate import ModelFiles, find_model
from search_agent.agent import SearchRules, SearchSettings, SearchStep, describe
from search_agent.demos import Demo, DemoSet, Listing
from search_agent.encoder import Encoder, PolicyEncoder, hash_of
from search_agent.nearest import DemoSearcher
from search_agent.pitch import Pitch, copied_action
from search_agent.wishes import TextWishes, hopes, without_embeddings

LOOK_EVERY = 10
"""Frames between two looks at whether `demos.toml` has changed."""


def chosen(folder: Path, listing: Listing, tags: Sequence[str]) -> list[Demo]:
    """The enabled ones of a set, with tags given those that have one of them. Raises ValueError if there are none."""
    demos, problems = list(listing.demos.values()), listing.problems
    found = [demo for demo in demos if demo.enabled and (not tags or set(tags) & set(demo.tags))]
    if not found:
        named = f" with a tag of {', '.join(tags)}" if tags else ""
        there = ", ".join(sorted({tag for demo in demos for tag in demo.tags})) or "none"
        broken = f"; {len(problems)} cannot be used: {'; '.join(problems[:2])}" if problems else ""
        raise ValueError(
            f"{folder}: no demonstration{named} is enabled among {len(demos)}; tags there are: {there}{broken}"
        )
    return found


def model_of(demos: DemoSet) -> ModelFiles:
    """The files of the model that made the set's latents. Raises ValueError if they are gone."""
    try:
        return find_model(demos.info.source)
    except ValueError as error:
        raise ValueError(
            f"{demos.folder}: the model that made its latents is not where it was ({error}); put it back, or say where it is "
            f"now: vpt index --model MODEL --out {demos.folder}"
        ) from error


def encoder_of(demos: DemoSet) -> Encoder:
    """The model that made the set's latents. Raises ValueError if it is gone, or is not the same any more."""
    info = demos.info
    model_of(demos)
    demos.require(replace(info, sha256=hash_of(info.source)))
    return PolicyEncoder(info.source, seen=info.seen)


NOTHING = Action()
"""What is done where no demonstration is left to copy."""


def _each_way(demos: list[Demo]) -> list[Demo]:
    return [way for demo in demos for way in demo.both_ways]


class SearchAgent:
    """Plays a set of demonstrations; ``step`` tells what was copied last, None where nothing is left to copy.

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
        self._wish: NDArray[np.floating] | None = None
        self._texts: TextWishes | None = None
        self._stamp, self._listing = demos.stamp, demos.read()
        self._take(self._usable())
        self.reset()

    def _usable(self) -> list[Demo]:
        """Those to copy, of what was last read, each way round that it may be copied; with a wish, only those that can be
        compared with it. Raises ValueError if there are none."""
        self.problems = list(self._listing.problems)
        found = chosen(self.set.folder, self._listing, self.tags)
        if self._wish is None:
            return _each_way(found)
        known = [demo for demo in found if demo.goals is not None]
        lacking = [demo.name for demo in found if demo.goals is None]
        if lacking:
            told = (
                f"{self.set.folder}: {len(lacking)} of {len(found)} demonstrations have no embeddings to compare a wish with "
                f"({', '.join(lacking)[:80]}); {without_embeddings(self.set)}"
            )
            if not known:
                raise ValueError(told)
            self.problems.append(told)
        return _each_way(known)

    def _take(self, demos: list[Demo]) -> None:
        self._searcher = DemoSearcher(demos) if demos else None
        self.demos = demos
        self._hopes = self._hoped(demos)

    def _hoped(self, demos: list[Demo]) -> list[NDArray[np.float32]] | None:
        return None if self._wish is None or not demos else hopes(demos, self._wish, self.settings.ahead)

    def _has(self, demos: list[Demo]) -> bool:
        """Whether it copies just these already."""
        return len(demos) == len(self.demos) and all(
            new.latents is old.latents for new, old in zip(demos, self.demos, strict=True)
        )

    def want(self, wish: NDArray[np.floating] | None) -> None:
        """What is wished for from now on: a vector (G,) in the space of the set's embeddings, or None for whatever comes. Also
        in the middle of an episode, and it stays over episodes.

        Raises ValueError for a wish of another size, and for a set whose demonstrations have no embeddings.
        """
        before, self._wish = self._wish, None if wish is None else np.asarray(wish)
        try:
            demos = self._usable()
            hoped = self._hoped(demos)
        except ValueError:
            self._wish = before
            raise
        if self.rules is None or not self._has(demos):
            self._change(demos)
        else:
            self._hopes = hoped
            self.rules.want(hoped)

    def require(self, tags: Sequence[str]) -> None:
        """Raises ValueError where no demonstration with one of these tags (none: any) is enabled."""
        chosen(self.set.folder, self._listing, tags)

    def choose(self, tags: Sequence[str]) -> None:
        """Copy only demonstrations with one of these tags from now on (none: any), wherever they lead: a wish ends. Also in the
        middle of an episode, and it stays over episodes. Raises ValueError where there are none; then all stays as it was."""
        before, self.tags, self._wish = (self.tags, self._wish), tuple(tags), None
        try:
            demos = self._usable()
        except ValueError:
            self.tags, self._wish = before
            raise
        if not self._has(demos):
            self._change(demos)
        elif self.rules is not None and self._hopes is not None:
            self._hopes = None
            self.rules.want(None)

    def want_text(self, text: str) -> None:
        """:meth:`want` in words; an empty text wishes for nothing. Raises ValueError also where the set's embedder is gone."""
        if not text.strip():
            return self.want(None)
        self._texts = self._texts or TextWishes(self.set)
        return self.want(self._texts.wish(text))

    def reset(self, observation: Mapping[str, Any] | None = None) -> None:
        """An episode begins."""
        self._frames, self.step = 0, None
        self._stream = self.encoder.stream()
        self._begin()

    step: SearchStep | None
    rules: SearchRules | None

    def _begin(self) -> None:
        self._pitch = Pitch(self.demos, self.settings.turn)
        self.rules = None
        if self._searcher is not None:
            self.rules = SearchRules(self.demos, self._searcher, self.settings)
            self.rules.want(self._hopes)

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action on seeing ``observation["pov"]``, uint8 (H, W, 3)."""
        if self._frames % LOOK_EVERY == 0:
            self._notice_changes()
        self._frames += 1
        latent = self._stream.look(observation["pov"])  # also where nothing is copied: it remembers
        if self.rules is None:
            self.step = None
            return NOTHING
        self.step = self.rules.step(latent)
        return copied_action(self.demos[self.step.demo], self.step.demo, self.step.row, self._pitch)

    def told(self) -> dict[str, Any]:
        """Of the latest action, as a line of a log."""
        return describe(self.step, self.demos)

    def _notice_changes(self) -> None:
        stamp = self.set.stamp
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._listing = self.set.read()
        except (ValueError, OSError) as error:  # somebody is still typing: go on with what was there
            self.problems = [str(error)]
            return
        try:
            demos = self._usable()
            if not self._has(demos):
                self._change(demos)
        except (ValueError, OSError) as error:
            # What is out of the set must not be copied, even where nothing else is left.
            self.problems.append(str(error))
            if self.demos:
                self._change([])

    def _change(self, demos: list[Demo]) -> None:
        """Copy these from now on."""
        own = self._pitch.own
        self._take(demos)
        self._begin()
        self._pitch.own = own


def open_agent(
    folder: Path, tags: Sequence[str] = (), settings: SearchSettings | None = None, text: str = ""
) -> SearchAgent:
    """The agent of a set. text: what it is to do, in words; "": whatever is demonstrated."""
    agent = SearchAgent(DemoSet(folder), None, tags, settings)
    if text:
        agent.want_text(text)
    return agent
