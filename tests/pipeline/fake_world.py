"""A flat world without a game, quick enough for unit tests: players walk, dig and place in it, and it answers them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from data.actions import DEGREES_PER_COUNT, Action
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.players.body import EYE_HEIGHT

GROUND = 10  # the height of the ground's nodes; feet stand half a node above their middle


class FakeWorld:
    """The env's interface, as far as players and recorder use it. ``dies_at`` raises the error at that step, once."""

    def __init__(self, size: tuple[int, int] = (64, 36), dies_at: int | None = None, error: Exception | None = None):
        self.size, self.dies_at, self.error = size, dies_at, error
        self.closed = False

    def reset(self, *, seed: int = 0, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], GameTruth]:
        self.tick, self.x, self.z, self.y, self.fall = 0, 0.0, 0.0, GROUND + 0.5, 0.0
        self.yaw, self.pitch, self.hotbar, self.gui = float(seed % 7) * 20, 0.0, 0, False
        self.held: frozenset[str] = frozenset()
        self.questions: dict[int, Any] = {}
        self.asked, self.cursor = 0, (self.size[0] // 2, self.size[1] // 2)
        names = ("pick_steel", "axe_bronze", "shovel_steel", "sword_mese", "cobble", "wood", "brick", "dirt", "torch")
        self.slots = [(index, f"default:{name}", 60) for index, name in enumerate(names)]
        return self._pov(), self._truth([], (0, 0))

    def ask(self, op: str, **question: Any) -> int:
        self.asked += 1
        x, z = round(self.x), round(self.z)
        answer: Any = None
        if op == "near":
            reach = range(-12, 13)
            cells = [[x + dx, GROUND, z + dz, dx * dx + dz * dz] for dx in reach for dz in reach]
            answer = sorted(cells, key=lambda cell: cell[3])[: question.get("limit", 12)]
        elif op == "path_beside":
            to = question["to"]
            steps = max(1, round(math.hypot(to[0] - self.x, to[2] - self.z)))
            spread = [(step + 1) / (steps + 1) for step in range(steps)]
            answer = [[self.x + (to[0] - self.x) * s, GROUND + 1, self.z + (to[2] - self.z) * s] for s in spread]
        elif op == "pointed":
            answer = self.pointed(question["range"])
        self.questions[self.asked] = answer
        return self.asked

    def pointed(self, reach: float) -> list[Any] | None:
        """The node of the ground that the crosshair is on."""
        steep = math.tan(math.radians(self.pitch))
        away = (self.y + EYE_HEIGHT - GROUND - 0.5) / steep if steep > 0 else math.inf
        if math.hypot(away, away * steep) > reach:
            return None
        yaw = math.radians(self.yaw)
        return [
            "node",
            "default:dirt",
            round(self.x + away * math.sin(yaw)),
            GROUND,
            round(self.z + away * math.cos(yaw)),
        ]

    def step(self, env_action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, GameTruth]:
        if self.dies_at == self.tick and self.error is not None:
            error, self.error = self.error, None
            raise error
        action = Action.from_env(env_action)
        pressed = action.buttons - self.held
        events: list[dict[str, Any]] = []
        counts = tuple(round(float(degrees) / DEGREES_PER_COUNT) for degrees in action.camera)
        if "inventory" in pressed:
            self.gui = not self.gui
        elif self.gui:
            self.cursor = self.cursor[0] + counts[1], self.cursor[1] + counts[0]
        else:
            self._move(action, counts)
            if "use" in pressed:
                events.append(
                    {"type": "place", "node": "default:cobble", "pos": [round(self.x), GROUND, round(self.z)]}
                )
            for slot in range(9):
                if f"hotbar.{slot + 1}" in pressed:
                    self.hotbar = slot
        self.held, self.tick = action.buttons, self.tick + 1
        return self._pov(), 0.0, False, False, self._truth(events, (counts[1], counts[0]))

    def close(self) -> None:
        self.closed = True

    def _move(self, action: Action, counts: tuple[int, ...]) -> None:
        self.pitch = min(89.5, max(-89.5, self.pitch + counts[0] * DEGREES_PER_COUNT))
        self.yaw = (self.yaw + counts[1] * DEGREES_PER_COUNT + 180) % 360 - 180
        forward = ("forward" in action.buttons) - ("back" in action.buttons)
        right = ("right" in action.buttons) - ("left" in action.buttons)
        angle = math.radians(self.yaw)
        self.x += 0.2 * (forward * math.sin(angle) + right * math.cos(angle))
        self.z += 0.2 * (forward * math.cos(angle) - right * math.sin(angle))
        ground = GROUND + 0.5
        if self.y <= ground:
            self.fall = 0.3 if "jump" in action.buttons else 0.0
        self.y, self.fall = max(ground, self.y + self.fall), self.fall - 0.05

    def _pov(self) -> dict[str, Any]:
        width, height = self.size
        shade = (np.add.outer(np.arange(height), np.arange(width)) * 3 + int(self.yaw * 2) + self.tick) % 256
        return {"pov": np.repeat(shade[..., None], 3, 2).astype(np.uint8)}

    def _truth(self, events: list[dict[str, Any]], counts: tuple[int, int]) -> GameTruth:
        answers, self.questions = self.questions, {}
        return GameTruth(
            tick=self.tick, position=(self.x, self.y, self.z), velocity=(0.0, 0.0, 0.0), yaw=self.yaw, pitch=self.pitch,
            hp=20, inventory={}, slots=self.slots, hotbar=self.hotbar, held_item=self.slots[self.hotbar][1], gained={},
            dug={}, placed={}, events=events, gui_open=self.gui, cursor=self.cursor, objects=[], is_dead=False, ended="",
            distance=math.hypot(self.x, self.z), max_distance=math.hypot(self.x, self.z), camera_counts=counts,
            camera_turn=(counts[1] * DEGREES_PER_COUNT, counts[0] * DEGREES_PER_COUNT), answers=answers,
        )  # fmt: skip
