"""Turns what Minecraft says of itself into the GameTruth of each step.

Minecraft's yaw 0 looks along +z and 90 along -x, while a GameTruth's yaw ``a`` looks along (sin a, cos a). Both grow to
the right, so the truth's x is minus Minecraft's; y, z, yaw and pitch are Minecraft's. Not said by MineRL, and therefore
always empty or
zero: ``slots`` (which slot holds what), ``cursor``, ``objects`` and ``answers``; ``hotbar`` follows the keys pressed;
``placed`` is Minecraft's "used", which counts eating and buckets, too. Minecraft tells its statistics a tick or two
late.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from data.actions import DEGREES_PER_COUNT
from vpt_pipeline.envs.minerl.server.games import OVER
from vpt_pipeline.envs.truth import GameTruth, Vector

TICKS_PER_SECOND = 20
_EVENTS = {"pickup": "pickup", "craft_item": "craft", "mine_block": "dig"}


def wrap(degrees: float) -> float:
    """The same direction in [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


class EpisodeTruth:
    """Keeps the books of one episode. news: what the game said at its reset."""

    def __init__(self, news: Mapping[str, Any]) -> None:
        self._first = self._before = news
        self._start = self._last = _position(news)
        self._farthest, self._hotbar = 0.0, 0
        self._known = Counter[str]()

    def info(
        self, news: Mapping[str, Any], tick: int, action: Mapping[str, Any] | None = None, ended: str = ""
    ) -> GameTruth:
        """The truth after a step; ``action``: MineRL's dictionary, None at reset."""
        if "xpos" not in news:  # Minecraft says nothing of a player who is gone
            news = {**self._before, **news}
        position = _position(news)
        yaw, pitch = wrap(float(news.get("yaw", 0.0))), float(news.get("pitch", 0.0))
        turn = pitch - float(self._before.get("pitch", pitch)), wrap(yaw - float(self._before.get("yaw", yaw)))
        distance = math.hypot(position[0] - self._start[0], position[2] - self._start[2])
        self._farthest = max(self._farthest, distance)
        inventory = Counter[str]()
        for stack in news.get("inventory", ()):
            inventory[str(stack["type"])] += int(stack["quantity"])
        inventory.pop("air", None)
        gui = bool(news.get("isGuiOpen", False))
        counts = (0, 0)
        if action is not None:
            camera = [float(angle) / DEGREES_PER_COUNT for angle in action.get("camera", (0.0, 0.0))]
            counts = round(camera[1]), round(camera[0])
            for slot in range(9):
                if action.get(f"hotbar.{slot + 1}") and not gui:
                    self._hotbar = slot
        life = news.get("life_stats", {})
        hp = math.ceil(float(life.get("life", 20.0)))
        dead = hp <= 0 or not life.get("is_alive", True) or self._died(news)
        truth = GameTruth(
            tick=tick,
            position=position,
            velocity=tuple((now - then) * TICKS_PER_SECOND for now, then in zip(position, self._last, strict=True)),  # type: ignore[typeddict-item]
            yaw=yaw,
            pitch=pitch,
            hp=hp,
            inventory=dict(inventory),
            slots=[],
            hotbar=self._hotbar,
            held_item=_held(news),
            gained=dict(self._since(news, "pickup") + self._since(news, "craft_item") - self._since(news, "drop")),
            dug=dict(self._since(news, "mine_block")),
            placed=dict(self._since(news, "use_item")),
            events=self._events(news),
            gui_open=gui,
            cursor=(0, 0),
            objects=[],
            distance=distance,
            max_distance=self._farthest,
            camera_counts=counts,
            camera_turn=turn,
            is_dead=dead,
            ended="death" if dead else ended,
            answers={},
        )
        self._last, self._before = position, news
        return truth

    def _died(self, news: Mapping[str, Any]) -> bool:
        """Whether the player has died and lives again: MineRL's Minecraft respawns at once, often before it says anything."""
        first, now = (int(told.get("custom", {}).get("deaths", 0)) for told in (self._first, news))
        return now > first or bool(news.get(OVER, False))

    def _since(self, news: Mapping[str, Any], kind: str) -> Counter[str]:
        """How much a statistic has grown since the reset: item -> count, only what has."""
        first = self._first.get(kind, {})
        grown = {str(name): int(count) - int(first.get(name, 0)) for name, count in news.get(kind, {}).items()}
        return Counter({name: count for name, count in grown.items() if count > 0})

    def _events(self, news: Mapping[str, Any]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        for kind, event in _EVENTS.items():
            before = self._before.get(kind, {})
            for name, count in news.get(kind, {}).items():
                if (more := int(count) - int(before.get(name, 0))) > 0:
                    events.append({"type": event, "node" if event == "dig" else "item": str(name), "count": more})
        return events


def _position(news: Mapping[str, Any]) -> Vector:
    """Of the feet, x turned round."""
    return -float(news.get("xpos", 0.0)), float(news.get("ypos", 0.0)), float(news.get("zpos", 0.0))


def _held(news: Mapping[str, Any]) -> str:
    item = news.get("equipped_items", {}).get("mainhand", {})
    name = str(item.get("type", "")) if isinstance(item, Mapping) else ""
    return "" if name == "air" else name
