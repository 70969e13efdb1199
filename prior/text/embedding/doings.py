"""What a player does in a stretch of a recording, by keys, mouse and hand: to tell stretches apart that no event does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.actions import BUTTON_INDEX, ActionTrack
from data.contractor_state import PlayerState

_MOSTLY, _OFTEN = 0.6, 0.3
"""Share of a stretch's frames in which a key is down that tells of it; that tells of what is done beside."""
_TURNED = 25.0
"""Degrees that the view turns aside in a stretch which is called a turn."""
_DOWN, _UP = 25.0, -12.0
"""Degrees of the view's mean that are down and up: on the way people look a little down."""


@dataclass(frozen=True)
class Doing:
    """Each in a word, "" where nothing is sure. move: walk, run, hop, back, left, right, stand; turn: left, right, no; view:
    up, down, ahead; strikes: attack is held; holds: the name in the game of what is in the hand."""

    move: str = ""
    turn: str = ""
    view: str = ""
    strikes: bool = False
    holds: str = ""

    @property
    def kind(self) -> str:
        """The most of it, in words."""
        return "strike" if self.strikes else self.move or "do"


def doing_in(actions: ActionTrack, state: PlayerState, start: int, end: int) -> Doing:
    """Of the frames from ``start`` to ``end``, which is not one of them. Nothing is sure in menus, nor where records are
    broken or there are none."""
    part = actions[start:end]
    if len(part) < end - start or part.gui_open.any() or not part.valid.all():
        return Doing()
    held = part.buttons.mean(0)

    def share(key: str) -> float:
        return float(held[BUTTON_INDEX[key]])

    yaw, pitch = float(part.camera[:, 1].sum()), state.pitch[start:end]
    looks = float(pitch.mean()) if len(pitch) == end - start else float("nan")
    held_items = set(state.holds[start:end])
    return Doing(
        move=_move({key: share(key) for key in ("forward", "back", "left", "right", "jump", "sprint")}),
        turn="right" if yaw > _TURNED else "left" if yaw < -_TURNED else "no",
        view="" if np.isnan(looks) else "down" if looks > _DOWN else "up" if looks < _UP else "ahead",
        strikes=share("attack") >= _MOSTLY,
        holds=held_items.pop() if len(held_items) == 1 else "",
    )


def _move(share: dict[str, float]) -> str:
    if share["forward"] >= _MOSTLY:
        if share["jump"] >= _OFTEN:
            return "hop"
        return "run" if share["sprint"] >= _MOSTLY else "walk"
    for key in ("back", "left", "right"):
        if share[key] >= _MOSTLY:
            return key
    still = max(share[key] for key in ("forward", "back", "left", "right", "jump"))
    return "stand" if still <= 1 - _MOSTLY - _OFTEN else ""
