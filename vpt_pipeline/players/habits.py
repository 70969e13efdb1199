"""What people do besides the task on their way: sidestep, hop, sprint, crouch, tap hotbar keys, swing, glance aside."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from vpt_pipeline.players.style import FRAMES_A_MINUTE, PlayerStyle

ALL = frozenset({"strafe", "hop", "sprint", "crouch", "hotbar", "swing", "glance"})
"""Every habit; a script names the ones that do not disturb what it is doing."""


class Habits:
    """Each habit comes and goes by chance, at the player's own rate, only where it is free to."""

    def __init__(self, style: PlayerStyle, rng: np.random.Generator) -> None:
        self._rng = rng
        self._style = style
        self._rates = {
            "strafe": style.strafes,
            "hop": style.hops,
            "sprint": style.sprints,
            "crouch": style.crouches,
            "hotbar": style.hotbar_taps,
            "swing": style.swings,
            "glance": style.glances,
        }
        self._left: dict[str, int] = {}  # running habit -> frames left
        self._side = "left"
        self._slot = 0
        self._tapped = np.zeros(9)  # how often each slot was chosen for no reason
        self.glance = (0.0, 0.0)  # where a running glance looks, (pitch, yaw) degrees off the way

    def buttons(self, free: Set[str], forward: bool, walking: bool, grounded: bool, slot: int) -> set[str]:
        """Buttons that running habits hold now.

        free: the habits that do not disturb; forward: whether that key is wanted; walking: on the move for a while;
        slot: the selected one, 0-8.
        """
        for name in sorted(self._rates):
            if name in self._left:
                self._left[name] -= 1
                if self._left[name] <= 0 or name not in free or (name == "sprint" and not forward):
                    del self._left[name]
            elif name in free and self._may_start(name, walking, grounded):
                self._left[name] = self._start(name, slot)
        held = {
            "hop": "jump",
            "sprint": "sprint",
            "crouch": "sneak",
            "strafe": self._side,
            "hotbar": f"hotbar.{self._slot + 1}",
        }
        return {held[name] for name in self._left if name in held}

    @property
    def is_glancing(self) -> bool:
        return "glance" in self._left

    def stop(self) -> None:
        self._left.clear()

    def another_slot(self, selected: int) -> int:
        """Some slot (0-8) other than the selected one, rather one that was seldom chosen so far."""
        liking = np.exp(-0.7 * (self._tapped - self._tapped.min()))
        liking[selected] = 0.0
        slot = int(self._rng.choice(9, p=liking / liking.sum()))
        self._tapped[slot] += 1
        return slot

    def _may_start(self, name: str, walking: bool, grounded: bool) -> bool:
        if name in ("hop", "sprint", "strafe", "glance") and not walking:
            return False
        if (name == "hop" and not grounded) or (name == "crouch" and "sprint" in self._left):
            return False
        return bool(self._rng.random() < self._rates[name] / FRAMES_A_MINUTE)

    def _start(self, name: str, slot: int) -> int:
        rng, style = self._rng, self._style
        if name in ("hotbar", "hop", "swing"):
            if name == "hotbar":
                self._slot = self.another_slot(slot)
            return int(rng.integers(style.tap[0], style.tap[1] + 1))
        if name == "strafe":
            self._side = "left" if rng.random() < 0.5 else "right"
            return int(rng.integers(4, 15))
        if name == "sprint":
            return 8 + int(rng.exponential(style.sprint_frames))
        if name == "crouch":
            return 6 + int(rng.exponential(14))
        self.glance = (float(rng.normal(0, 12)), float(rng.choice((-1, 1)) * rng.uniform(20, 65)))
        return int(rng.integers(12, 34))
