"""The fingers on the keys: nothing goes down for less than a human press, nor comes back at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vpt_pipeline.players.style import PlayerStyle

OPPOSITES = {"forward": "back", "back": "forward", "left": "right", "right": "left", "attack": "use", "use": "attack"}
TAPPED = ("drop", "inventory", *(f"hotbar.{slot}" for slot in range(1, 10)))
GAP_FRAMES = 2


class Keys:
    """Turns the buttons that are wanted each frame into the buttons that are held."""

    def __init__(self, style: PlayerStyle, rng: np.random.Generator) -> None:
        self._style = style
        self._rng = rng
        self._shortest: dict[str, int] = {}  # held button -> frames that it has to stay down still
        self._gap: dict[str, int] = {}  # released button -> frames that it has to stay up still

    @property
    def held(self) -> frozenset[str]:
        return frozenset(self._shortest)

    def release_all(self) -> None:
        self._shortest.clear()

    def settle(self, wanted: Iterable[str]) -> frozenset[str]:
        """The buttons held in this frame."""
        want = self._without_nonsense(set(wanted))
        self._gap = {name: left - 1 for name, left in self._gap.items() if left > 1}
        for name in sorted(self._shortest):
            self._shortest[name] -= 1
            crossed = OPPOSITES.get(name) in want or (name == "sprint" and "forward" not in want)
            if name not in want and (self._shortest[name] <= 0 or crossed):
                del self._shortest[name]
                self._gap[name] = GAP_FRAMES
        for name in sorted(want - self._shortest.keys()):  # "forward" comes before "sprint"
            if name not in self._gap and not (name == "sprint" and "forward" not in self._shortest):
                self._shortest[name] = self._hold_frames(name)
        return self.held

    def _hold_frames(self, name: str) -> int:
        low, high = self._style.tap if name in TAPPED or name in ("attack", "use", "jump") else self._style.hold
        return int(self._rng.integers(low, high + 1))

    @staticmethod
    def _without_nonsense(want: set[str]) -> set[str]:
        for first, second in (("forward", "back"), ("left", "right"), ("attack", "use")):
            if first in want and second in want:
                want.discard(second)
        if "sneak" in want or "forward" not in want:
            want.discard("sprint")
        return want
