"""Turns the bridge's lines and the shim's reports into the GameTruth of each step."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from data.actions import DEGREES_PER_COUNT
from vpt_pipeline.envs.luanti.game import Game
from vpt_pipeline.envs.truth import GameTruth, Vector

PITCH_LIMIT = 89.5
"""The game does not look further up or down than this."""


def wrap(degrees: float) -> float:
    """The same direction in [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


def _whole(value: Any) -> Any:
    """The bridge's JSON knows only floats; counts and node positions are whole numbers."""
    if isinstance(value, list):
        return tuple(_whole(part) for part in value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


class EpisodeTruth:
    """Keeps the books of one episode: what was gained, dug and placed, how far the player came, where the view points.

    The view is known from the mouse counts, because the server hears of it a frame late.
    """

    def __init__(self, game: Game, yaw: float, pitch: float) -> None:
        self.yaw, self.pitch = yaw, pitch
        self._start: Vector = tuple(game.truth["pos"])
        self._tick = 0
        self._farthest = 0.0
        self._gained: Counter[str] = Counter()
        self._dug: Counter[str] = Counter()
        self._placed: Counter[str] = Counter()
        self._was_open = game.frame.gui_open

    def turn(self, game: Game, counts: tuple[int, int]) -> tuple[float, float]:
        """Account for mouse counts (dx, dy) of the step just made; returns the turn in degrees (pitch, yaw).

        While a GUI is open, and in the frame in which it opens or closes, the mouse does not turn the view.
        """
        blind = self._was_open or game.frame.gui_open
        self._was_open = game.frame.gui_open
        if blind:
            return 0.0, 0.0
        before = self.pitch
        self.pitch = min(PITCH_LIMIT, max(-PITCH_LIMIT, self.pitch + counts[1] * DEGREES_PER_COUNT))
        self.yaw = wrap(self.yaw + counts[0] * DEGREES_PER_COUNT)
        return self.pitch - before, counts[0] * DEGREES_PER_COUNT

    def _count(self, event: dict[str, Any]) -> None:
        kind, count = event["type"], event.get("count", 1)
        if kind == "dig":
            self._dug[event["node"]] += 1
        elif kind == "place":
            self._placed[event["node"]] += 1
        elif kind == "craft" or (kind == "pickup" and not event["own"]):
            self._gained[event["item"]] += count

    def info(
        self,
        game: Game,
        tick: int,
        counts: tuple[int, int] = (0, 0),
        turn: tuple[float, float] = (0.0, 0.0),
        ended: str = "",
    ) -> GameTruth:
        """The truth after a step; takes the events and answers that came with it."""
        line, answers = game.truth, game.answers
        events = [{name: _whole(value) for name, value in event.items()} for event in game.events]
        game.events, game.answers = [], {}
        for event in events:
            self._count(event)
        position: Vector = tuple(line["pos"])
        distance = math.hypot(position[0] - self._start[0], position[2] - self._start[2])
        self._farthest = max(self._farthest, distance)
        slots = [(int(index), str(item), int(count)) for index, item, count in line["slots"] or ()]
        inventory: Counter[str] = Counter()
        for _, item, count in slots:
            inventory[item] += count
        dead = line["hp"] <= 0
        return GameTruth(
            tick=tick,
            position=position,
            velocity=tuple(line["vel"]),
            yaw=self.yaw,
            pitch=self.pitch,
            hp=int(line["hp"]),
            inventory=dict(inventory),
            slots=slots,
            hotbar=int(line["wield"]),
            held_item=str(line["item"]),
            gained=dict(self._gained),
            dug=dict(self._dug),
            placed=dict(self._placed),
            events=events,
            gui_open=game.frame.gui_open,
            cursor=game.frame.pointer,
            objects=[(str(name), str(item), tuple(at)) for name, item, at in line["objects"] or ()],
            distance=distance,
            max_distance=self._farthest,
            camera_counts=counts,
            camera_turn=turn,
            is_dead=dead,
            ended=ended or ("death" if dead else ""),
            answers={int(number): answer for number, (_, answer) in answers.items()},
        )
