"""The hand on the mouse: turns the view the way people do, in strokes that overshoot, or by following smoothly."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from data.actions import DEGREES_PER_COUNT
from vpt_pipeline.players.style import FRAMES_A_MINUTE, PlayerStyle

LONGEST_STROKE = 75.0
"""Degrees; a longer turn takes several strokes, as the mouse has to be lifted."""

JOG, JOG_FRAMES = (5.0, 8.0), (2, 4)
"""How far a jog turns the view (pitch, yaw) in degrees, standard deviation, and how long it takes, from and to."""

Turn = tuple[float, float]


def bell_steps(frames: int, warp: float) -> NDArray[np.float64]:
    """float64 (frames,) that sum to 1: the distances of a minimum-jerk movement; ``warp`` < 1 leans it to the front."""
    t = np.linspace(0.0, 1.0, frames + 1) ** warp
    travelled = 10 * t**3 - 15 * t**4 + 6 * t**5
    steps: NDArray[np.float64] = np.diff(travelled)
    return steps


class Mouse:
    """Produces each frame's turn (pitch, yaw) in degrees, always a whole number of mouse counts."""

    def __init__(self, style: PlayerStyle, rng: np.random.Generator) -> None:
        self._style = style
        self._rng = rng
        self._plan: deque[tuple[float, float]] = deque()
        self._wait = 0
        self._speed = np.zeros(2)  # of smooth pursuit, degrees a frame
        self._remainder = np.zeros(2)  # what rounding to counts still owes
        self._aside = np.zeros(2)  # where fidgets have pulled the view, degrees
        self._jogged, self._jog_turn = 0, np.zeros(2)  # frames left of being jogged, and degrees in each
        self.jogged = False
        """Whether the turn that was given last has a jog in it."""
        self._pursuing = False
        self._mood_frames = 0

    @property
    def is_busy(self) -> bool:
        """Whether a stroke is under way."""
        return bool(self._plan)

    def still(self) -> Turn:
        """Let go: no stroke, no motion."""
        self._plan.clear()
        self._speed[:] = 0.0
        return 0.0, 0.0

    def rest(self, moving: bool) -> Turn:
        """Nothing to look at: only a fidget now and then, more of them while the player moves."""
        self._speed[:] = 0.0
        if not self._plan and self._rng.random() < (4 if moving else 1.5) * self._style.fidgets / FRAMES_A_MINUTE:
            self._plan_stroke(
                (
                    float(self._rng.normal(0, self._style.fidget_size)),
                    float(self._rng.normal(0, self._style.fidget_size)),
                ),
                1.0,
            )
        return self._in_counts(np.array(self._plan.popleft() if self._plan else (0.0, 0.0)))

    def push(self, pitch: float, yaw: float) -> Turn:
        """This turn exactly, but for tremor."""
        self._plan.clear()
        return self._in_counts(np.array([pitch, yaw]) + self._tremor(math.hypot(pitch, yaw)))

    def towards(self, error: Turn, tolerance: float, haste: float = 1.0, loose: bool = False) -> Turn:
        """The next frame of bringing the view to where it is (pitch, yaw) degrees away from, within ``tolerance``.

        ``loose``: the exact direction does not matter, so fidgets may pull the view aside.
        """
        self._change_mood()
        if loose:
            if self._rng.random() < self._style.fidgets / FRAMES_A_MINUTE:
                self._aside = self._rng.normal(0.0, self._style.fidget_size, 2) * (0.7, 1.0)
            error = error[0] + float(self._aside[0]), error[1] + float(self._aside[1])
        away = math.hypot(*error)
        if self._plan:
            planned = self._plan.popleft()
            # a stroke that has come to lead away from its target is broken off
            if away > 12 and planned[0] * error[0] + planned[1] * error[1] < 0:
                self._plan.clear()
            return self._in_counts(np.array(planned))
        if self._pursuing and (away < 40 or self._style.pursuit == 1):
            return self._pursue(error, tolerance, haste)
        self._speed[:] = 0.0
        if away <= tolerance:
            return self._in_counts(np.zeros(2))
        if self._wait > 0:
            self._wait -= 1
            return self._in_counts(np.zeros(2))
        self._plan_stroke(error, haste)
        self._wait = int(self._rng.poisson(self._style.patience / haste))
        return self._in_counts(np.array(self._plan.popleft()))

    def _change_mood(self) -> None:
        self._mood_frames -= 1
        if self._mood_frames <= 0:
            self._pursuing = self._rng.random() < self._style.pursuit
            self._mood_frames = int(self._rng.integers(30, 90))

    def _pursue(self, error: Turn, tolerance: float, haste: float) -> Turn:
        peak = self._style.turn_peak * haste
        near = np.abs(error) < tolerance / 2
        wanted = np.where(near, 0.0, np.clip(0.3 * np.array(error), -peak, peak))
        self._speed += 0.55 * (wanted - self._speed)
        if float(np.abs(self._speed).max()) < DEGREES_PER_COUNT / 2:
            return self._in_counts(np.zeros(2))
        return self._in_counts(self._speed + self._tremor(float(np.hypot(*self._speed))))

    def _plan_stroke(self, error: Turn, haste: float) -> None:
        style, rng = self._style, self._rng
        aim = np.array(error)
        size = float(np.hypot(*aim))
        aim = aim * min(1.0, LONGEST_STROKE / size) * rng.normal(style.reach, style.spread)
        aim += rng.normal(0.0, style.spread * size * 0.4, 2) * (np.abs(aim[::-1]) > 2)  # strokes are not quite straight
        distance = float(np.hypot(*aim))
        peak = style.turn_peak * haste * rng.uniform(0.7, 1.15)
        frames = max(style.stroke_frames / haste + math.log2(1 + distance / 4), 1.875 * distance / peak)
        count = max(2, round(frames))
        along = np.stack([bell_steps(count, float(rng.uniform(0.75, 1.1))) for _ in range(2)], 1) * aim
        for step in along:
            self._plan.append(tuple(step + self._tremor(float(np.hypot(*step)))))

    def _tremor(self, speed: float) -> NDArray[np.float64]:
        if speed < DEGREES_PER_COUNT:
            return np.zeros(2)
        return self._rng.normal(0.0, self._style.tremor * min(1.0, 0.3 + speed / 6), 2)

    def _jog(self) -> NDArray[np.float64]:
        """Degrees in this frame that the hand was jogged by, which it did not want."""
        if not self._style.jogs:
            return np.zeros(2)
        if not self._jogged and self._rng.random() < self._style.jogs / FRAMES_A_MINUTE:
            self._jogged = int(self._rng.integers(JOG_FRAMES[0], JOG_FRAMES[1] + 1))
            self._jog_turn = self._rng.normal(0.0, JOG, 2) / self._jogged
        if not self._jogged:
            return np.zeros(2)
        self._jogged -= 1
        return self._jog_turn

    def _in_counts(self, turn: NDArray[np.float64]) -> Turn:
        jog = self._jog()
        self.jogged = bool(jog.any())
        owed = turn + self._remainder + jog
        counts = np.round(owed / DEGREES_PER_COUNT)
        self._remainder = owed - counts * DEGREES_PER_COUNT
        return float(counts[0] * DEGREES_PER_COUNT), float(counts[1] * DEGREES_PER_COUNT)
