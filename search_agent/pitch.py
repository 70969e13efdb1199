"""The copied action: the demonstration's keys and turns, with the pitch steered to where its player looked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.actions import Action
from search_agent.demos import Demo


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
