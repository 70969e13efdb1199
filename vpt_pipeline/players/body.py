"""A player's body: what it perceives, and frame by frame what its hands do. Scripts are generators of frames."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Set
from typing import Any, Protocol

import numpy as np

from data.actions import Action
from vpt_pipeline.envs.truth import GameTruth, Vector
from vpt_pipeline.players.habits import Habits
from vpt_pipeline.players.keys import Keys
from vpt_pipeline.players.mouse import Mouse, Turn
from vpt_pipeline.players.slips import Slips
from vpt_pipeline.players.style import PlayerStyle

EYE_HEIGHT = 1.625
ANSWER_FRAMES = 8
"""Frames that a script waits for the game's answer to a question."""

NOTICED = 0.15
"""Chance in each frame to notice that the wrong tool is in hand: who always notices at once hardly shows what a wrong tool
looks like, and a learner takes the tool in an episode's first frames, which it tells by having no memory yet, or never."""

Script = Generator[Action, None, None]
NOTHING: frozenset[str] = frozenset()
MOVEMENT = frozenset({"forward", "back", "left", "right"})


class AnswersQuestions(Protocol):
    """The part of the env that scripts use: read-only questions, answered in the truth of a later step."""

    def ask(self, op: str, **question: Any) -> int: ...


def wrap(degrees: float) -> float:
    """The same angle in [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


class Body:
    """Holds the latest truth and makes actions of intentions."""

    def __init__(self, env: AnswersQuestions, style: PlayerStyle, rng: np.random.Generator, truth: GameTruth) -> None:
        self.style = style
        self.rng = rng
        self.truth = truth
        self._env = env
        self._mouse = Mouse(style, rng)
        self._keys = Keys(style, rng)
        self.habits = Habits(style, rng)
        self._slips = Slips(style, rng)
        self._astray: frozenset[str] = frozenset()  # keys that a slip pressed and fingers still hold
        self.slipped = False
        """Whether the last action was not what the script meant: nobody should copy it."""
        self.tool = ""  # part of the name of what is to be in hand, whatever goes on; "": anything
        self._walked = 0  # frames in a row that forward was held and the player moved
        self._on_ground = 0  # frames in a row at the same height
        self.still_frames = 0  # frames in a row without getting on

    # ---- perceiving

    def perceive(self, truth: GameTruth) -> None:
        """Take in the truth of the frame to act on."""
        before, now = self.truth["position"], truth["position"]
        moved = math.dist((before[0], before[2]), (now[0], now[2]))
        slow = 0.02 if "sneak" in self._keys.held else 0.1  # metres a frame; walking makes 0.2
        self.still_frames = self.still_frames + 1 if moved < slow else 0
        self._on_ground = self._on_ground + 1 if abs(now[1] - before[1]) < 0.004 else 0
        self._walked = self._walked + 1 if "forward" in self._keys.held and moved > 0.1 else 0
        self.truth = truth

    @property
    def grounded(self) -> bool:
        return self._on_ground >= 2

    @property
    def feet(self) -> Vector:
        return self.truth["position"]

    @property
    def keys_held(self) -> frozenset[str]:
        return self._keys.held

    def gaze_at(self, target: Vector) -> tuple[float, float]:
        """(pitch, yaw) in degrees that look at a point."""
        x, y, z = self.feet
        dx, dy, dz = target[0] - x, target[1] - (y + EYE_HEIGHT), target[2] - z
        return -math.degrees(math.atan2(dy, math.hypot(dx, dz))), math.degrees(math.atan2(dx, dz))

    def bearing(self, target: Vector) -> float:
        """Yaw of the target relative to the view, in [-180, 180); positive is to the right."""
        x, _, z = self.feet
        return wrap(math.degrees(math.atan2(target[0] - x, target[2] - z)) - self.truth["yaw"])

    def away(self, target: Vector) -> float:
        """Metres from the eye to a point."""
        x, y, z = self.feet
        return math.dist((x, y + EYE_HEIGHT, z), target)

    def flat_away(self, target: Vector) -> float:
        """Metres in the horizontal plane."""
        return math.dist((self.feet[0], self.feet[2]), (target[0], target[2]))

    def off_target(self, gaze: tuple[float, float]) -> float:
        """Degrees between the view and a gaze (pitch, yaw)."""
        return math.hypot(*self._error(gaze))

    def _error(self, gaze: tuple[float, float]) -> Turn:
        pitch = min(88.0, max(-88.0, gaze[0]))
        return pitch - self.truth["pitch"], wrap(gaze[1] - self.truth["yaw"])

    def slot_of(self, *parts: str) -> int | None:
        """The first hotbar slot (0-8) whose item's name contains one of the parts."""
        return next(
            (slot for slot, item, _ in self.truth["slots"] if slot < 9 and any(part in item for part in parts)), None
        )

    # ---- acting

    def frame(
        self,
        keys: Iterable[str] = (),
        gaze: tuple[float, float] | None = None,
        tolerance: float = 1.5,
        haste: float = 1.0,
        push: Turn | None = None,
        free: Set[str] = NOTHING,
    ) -> Action:
        """One frame: hold ``keys``, bring the view towards ``gaze`` (or ``push`` it); ``free`` habits may join in."""
        if (slip := self._slips.next()) is not None:
            self._astray, self.slipped = slip[0], True
            return Action(self._keys.settle(set(slip[0])), self._mouse.push(*slip[1]))
        if tool := self._tool_key():  # and nothing else meanwhile
            return self._meant({tool}, self._mouse.still())
        wanted = set(keys)
        walking = self._walked >= 4 and "forward" in wanted
        wanted |= self.habits.buttons(free, "forward" in wanted, walking, self.grounded, self.truth["hotbar"])
        if gaze is not None and self.habits.is_glancing:
            gaze = gaze[0] + self.habits.glance[0], gaze[1] + self.habits.glance[1]
        if push is not None:
            camera = self._mouse.push(*push)
        elif gaze is not None:
            camera = self._mouse.towards(self._error(gaze), tolerance, haste, loose=bool(free))
        elif self.truth["gui_open"]:
            camera = self._mouse.still()
        else:
            camera = self._mouse.rest(moving=bool(MOVEMENT & wanted))
        return self._meant(wanted, camera)

    def _meant(self, wanted: set[str], camera: Turn) -> Action:
        held = self._keys.settle(wanted)
        self._astray &= held - wanted
        self.slipped = bool(self._astray) or self._mouse.jogged
        return Action(held, camera)

    def _tool_key(self) -> str | None:
        """The key that brings the tool to the hand, once it is noticed that another is there."""
        slot = self.slot_of(self.tool) if self.tool else None
        if slot is None or slot == self.truth["hotbar"] or self.truth["gui_open"] or not self.chance(NOTICED):
            return None
        return f"hotbar.{slot + 1}"

    def ask(
        self, op: str, *, keys: Iterable[str] = (), gaze: tuple[float, float] | None = None, **question: Any
    ) -> Generator[Action, None, Any]:
        """Ask the game while going on with what the hands do; returns the answer, or None if none came."""
        request, held = self._env.ask(op, **question), tuple(keys)
        for _ in range(ANSWER_FRAMES):
            yield self.frame(held, gaze, tolerance=self.style.tolerance)
            if request in self.truth["answers"]:
                return self.truth["answers"][request]
        return None

    def wait(
        self, frames: int, keys: Iterable[str] = (), gaze: tuple[float, float] | None = None, free: Set[str] = NOTHING
    ) -> Script:
        """Hold keys (or nothing) for a number of frames."""
        held = tuple(keys)
        for _ in range(frames):
            yield self.frame(held, gaze, free=free)

    def tap(self, button: str, also: Iterable[str] = ()) -> Script:
        """Press and release, as long as this player's taps are, then a moment's rest."""
        low, high = self.style.tap
        others = tuple(also)
        yield from self.wait(int(self.rng.integers(low, high + 1)), (button, *others))
        yield from self.wait(2 + int(self.rng.integers(0, 3)), others)

    def look(
        self,
        gaze: tuple[float, float],
        within: float = 2.0,
        limit: int = 40,
        keys: Iterable[str] = (),
        haste: float = 1.0,
    ) -> Script:
        """Turn the view until it is within so many degrees of the gaze."""
        held = tuple(keys)
        for _ in range(limit):
            if self.off_target(gaze) <= within and not self._mouse.is_busy:
                return
            yield self.frame(held, gaze, tolerance=within, haste=haste)

    def select(self, slot: int, also: Iterable[str] = ()) -> Script:
        """Bring a hotbar slot (0-8) to the hand by its key, and let it be."""
        self.tool = ""
        if self.truth["hotbar"] != slot:
            yield from self.tap(f"hotbar.{slot + 1}", also)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)
