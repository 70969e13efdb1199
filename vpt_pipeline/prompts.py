"""Asking an agent for something, at once and later in its episode: wishes, schedules of them, and agents that can be asked.

A wish is a line of text. What it means the agent says: a policy that follows texts takes words, a set of demonstrations
takes tags; ``text:WORDS`` and ``video:CLIP.mp4`` or ``video:CLIP.mp4:SECOND`` (what is seen in the moment before that second)
mean the same to both. The empty wish asks for nothing.

A schedule is a part of an agent's name, so that whoever plays agents by name plays these, too::

    runs/text:chop a tree; 20: dig dirt; 40: collect seeds        from second 20 on it is asked for dirt, from 40 on for seeds
    sets/all:logs; 20: dirt                                       other demonstrations in the middle of an episode
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from data.actions import Action
from data.files import atomic_path
from data.resample import TICK_RATE
from vpt_pipeline.play_logs import read_log

TEXT, VIDEO = "text:", "video:"
"""What a wish begins with that says itself what it is."""

_THEN = re.compile(r";\s*(\d+(?:\.\d+)?)\s*:")


@dataclass(frozen=True)
class Ask:
    """From a frame of the episode on, a wish."""

    frame: int
    wish: str


Schedule = tuple[Ask, ...]


def split_schedule(name: str) -> tuple[str, Schedule]:
    """An agent's name without its schedule, and the schedule.

    Raises ValueError for one in which a wish comes before the one that stands ahead of it.
    """
    head, *rest = _THEN.split(name)
    asks = tuple(
        Ask(round(float(second) * TICK_RATE), wish.strip()) for second, wish in zip(rest[::2], rest[1::2], strict=True)
    )
    late = [one for one, after in pairwise(asks) if after.frame <= one.frame]
    if late:
        at = late[0].frame / TICK_RATE
        raise ValueError(
            f"{name!r}: expected wishes in the order of their seconds, each at another; found one after that of second {at:g} "
            "which is not later"
        )
    return head.strip() if asks else head, asks


def with_schedule(name: str, then: Sequence[tuple[float, str]]) -> str:
    """An agent's name with wishes at seconds of the episode, in any order. Raises ValueError as :func:`single` does."""
    return name + "".join(f"; {second:.10g}: {single(wish)}" for second, wish in sorted(then))


def single(wish: str) -> str:
    """The same wish. Raises ValueError for one that would be read as several in an agent's name."""
    if _THEN.search(wish):
        raise ValueError(f"the wish {wish!r} holds what is read as another one, for later; give each by itself")
    return wish


def parse_then(text: str) -> tuple[float, str]:
    """``20:dig dirt`` -> (20.0, "dig dirt"). Raises ValueError for anything else."""
    second, colon, wish = text.partition(":")
    try:
        at = float(second)
    except ValueError:
        at = -1.0
    if not colon or not 0 <= at < float("inf"):
        raise ValueError(
            f"expected a second of the episode and what is asked for then, such as 20:'dig dirt'; found {text!r}"
        )
    return at, wish.strip()


def split_clip(wish: str) -> tuple[Path, float | None]:
    """``video:CLIP.mp4`` or ``video:CLIP.mp4:SECOND`` -> the video, and the second (None: its end)."""
    rest = wish.removeprefix(VIDEO).strip()
    path, colon, second = rest.rpartition(":")
    if colon and not Path(rest).is_file():
        with suppress(ValueError):  # a colon of the path's own, and no such file: said where it is opened
            return Path(path), float(second)
    return Path(rest), None


class Playing(Protocol):
    """What plays behind an agent that is asked."""

    def reset(self) -> None: ...

    def act(self, observation: Mapping[str, Any]) -> Action: ...


class AskedAgent(ABC):
    """An agent that does what it is asked for: see the module's docstring.

    asked: what it was asked for in this episode, and when; the first at frame 0. What is asked for in the middle of an episode
    changes nothing of what the agent remembers.
    """

    def __init__(self, player: Playing, first: str = "", then: Schedule = ()) -> None:
        """Raises ValueError for a wish that it does not understand, also a later one."""
        self._player, self._then = player, (Ask(0, first), *then)
        self._meanings: dict[str, Any] = {}
        for one in self._then:
            self._understood(one.wish)
        self._begin()

    @property
    def wish(self) -> str:
        """What it is asked for now."""
        return self.asked[-1].wish if self.asked else ""

    def ask(self, wish: str) -> None:
        """From the next action on. Raises ValueError for a wish that it does not understand; then the old one stays."""
        self._heed(self._understood(wish))
        if self.asked and self.asked[-1].frame == self._frame:
            self.asked.pop()  # nothing was done for it
        if not self.asked or self.asked[-1].wish != wish:
            self.asked.append(Ask(self._frame, wish))

    def reset(self, observation: Mapping[str, Any]) -> None:
        """An episode begins, with the first wish and the schedule."""
        self._begin()
        self._player.reset()

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action on seeing this, as asked for by now."""
        while self._due and self._due[0].frame <= self._frame:
            self.ask(self._due.pop(0).wish)
        self._frame += 1
        return self._player.act(observation)

    def _begin(self) -> None:
        self._frame, self._due, self.asked = 0, list(self._then), list[Ask]()
        self.ask(self._due.pop(0).wish)

    def _understood(self, wish: str) -> Any:
        if wish not in self._meanings:
            self._meanings[wish] = self._meaning(wish)
        return self._meanings[wish]

    @abstractmethod
    def _meaning(self, wish: str) -> Any:
        """What a wish comes to, kept and given to :meth:`_heed` whenever it is asked for. Raises ValueError for nonsense."""

    @abstractmethod
    def _heed(self, meaning: Any) -> None:
        """Do this from the next action on."""


def asked_log(video: Path) -> Path:
    """Where it is told what a played agent was asked for: a line whenever that changed."""
    return video.with_suffix(".asked.jsonl")


def write_asked(video: Path, asked: Sequence[Ask]) -> None:
    """Write :func:`asked_log` of a played video."""
    with atomic_path(asked_log(video)) as part:
        part.write_text("".join(json.dumps(vars(one)) + "\n" for one in asked), encoding="utf-8")


def read_asked(video: Path) -> list[Ask]:
    """What a played agent was asked for, and from which frame on. Raises ValueError where that was not told."""
    what = f"what the agent of {video} was asked for"
    return read_log(asked_log(video), what, "vpt play", lambda row: Ask(int(row["frame"]), str(row["wish"])))
