"""The options of `vpt play` that ask an agent for something, and the agents' names that they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from vpt_pipeline.agents import can_be_asked, is_set, split_text
from vpt_pipeline.prompts import TEXT, VIDEO, parse_then, single, split_schedule, with_schedule


@dataclass(frozen=True)
class Asking:
    """Of policies that follow texts, and of sets: what they are asked for."""

    text: tuple[str, ...] = ()
    """What a policy that follows texts, or a set with embeddings, is asked for. Several: each is played from the same
    start, and all are shown side by side."""
    clip: Annotated[tuple[str, ...], tyro.conf.arg(name="video", metavar="[CLIP.mp4[:SECOND] ...]")] = ()
    """... or what is to be seen: the moment before a second of a video, or before its end."""
    then: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[SECOND:WISH ...]")] = ()
    """What is asked for later in the episode, such as 20:"dig dirt"; of a set also 20:TAG. What was seen is not forgotten."""
    interactive: bool = False
    """Ask while it plays: every line that is typed is what it is asked for from then on, an empty one asks for nothing."""
    captions: bool = False
    """Write a second video, with what the agent was asked for below the picture."""

    def agents(self, name: str) -> tuple[str, ...]:
        """An agent's name with what it is asked for, once for each text and clip.

        Raises ValueError where the agent cannot be asked, or is asked twice, and for a text of nothing.
        """
        given = {f"--{'video' if option == 'clip' else option}": value for option, value in vars(self).items() if value}
        if not given:
            return (name,)
        if not can_be_asked(name):
            raise ValueError(
                f"{next(iter(given))}: {name!r} cannot be asked for anything; expected a policy that follows texts (a folder "
                "of `vpt train-text`) or a set of demonstrations (a folder of `vpt index`)"
            )
        for option, values in (("--text", self.text), ("--video", self.clip)):
            if not all(value.strip() for value in values):
                raise ValueError(
                    f"{option} is empty; expected what is to be done, such as --text 'chop down a tree', or no {option}: "
                    f"{name} alone is asked for nothing"
                )
        wishes = [f"{TEXT}{text.strip()}" for text in self.text] + [f"{VIDEO}{clip.strip()}" for clip in self.clip]
        if len(wishes) > 1 and self.interactive:
            raise ValueError(
                "--interactive asks one agent for one thing after another; give one --text or --video at most"
            )
        if split_schedule(name)[1] and (wishes or self.then):
            raise ValueError(
                f"{next(iter(given))}: {name!r} says itself what is asked for, and when; give one of the two"
            )
        then = [(second, self.as_said(name, wish)) for second, wish in map(parse_then, self.then)]
        return tuple(with_schedule(_asked(name, wish), then) for wish in wishes or [""])

    def as_said(self, name: str, wish: str) -> str:
        """A wish that comes later. A set that was asked for something in words is so later, too."""
        words = self.text and wish and is_set(name) and not wish.startswith((TEXT, VIDEO))
        return f"{TEXT}{wish}" if words else wish


def _asked(name: str, wish: str) -> str:
    """The name of an agent that is asked for something from the beginning."""
    if not wish:
        return name
    if is_set(name):  # which demonstrations: its tags stay
        return with_schedule(name, [(0, wish)])
    asked = split_text(name)
    if asked is not None and asked[1]:
        raise ValueError(f"{name!r} and {wish.removeprefix(TEXT)!r}: it is asked twice; give one of the two")
    return f"{name}:{single(wish).removeprefix(TEXT)}"
