"""Moments of inattention: a look elsewhere, a step astray, the wrong tool. What the script does next shows how one gets out of
them, which somebody who never errs cannot teach: a learner's own errors lead to places that recordings without any do not
show (Laskey et al. 2017, "DART", arXiv 1703.09327). The slips themselves are not to be copied, and recordings tell them apart.
"""

from __future__ import annotations

import numpy as np

from vpt_pipeline.players.style import FRAMES_A_MINUTE, PlayerStyle

KINDS = ("look", "look", "stray", "slot", "slot", "slot", "slot", "blow", "blow")
"""By how often they come: a wrong tool or a look elsewhere takes little time to mend, and ruins the rest of an episode for one
who cannot; so does a blow at nothing, since who has once begun is seen striking, and goes on."""


class Slips:
    """Come by chance, ``style.slips`` a minute; none, and no chance drawn, where that is 0."""

    def __init__(self, style: PlayerStyle, rng: np.random.Generator) -> None:
        self._rate, self._tap, self._rng = style.slips / FRAMES_A_MINUTE, style.tap, rng
        self._left = 0
        self._keys: frozenset[str] = frozenset()
        self._turn = (0.0, 0.0)

    def next(self) -> tuple[frozenset[str], tuple[float, float]] | None:
        """Keys that are held by mistake in this frame, and the turn (pitch, yaw) in degrees; None where all goes well."""
        if self._rate and not self._left and self._rng.random() < self._rate:
            self._begin()
        if not self._left:
            return None
        self._left -= 1
        return self._keys, self._turn

    def _begin(self) -> None:
        rng = self._rng
        kind = KINDS[int(rng.integers(len(KINDS)))]
        self._keys, self._turn = frozenset(), (0.0, 0.0)
        if kind == "look":
            # far enough, at times, to look at the sky or at one's feet: a learner who has got there wants to know the way back
            self._left = int(rng.integers(3, 9))
            self._turn = float(rng.normal(0, 7.0)), float(rng.normal(0, 7.0))
        elif kind == "stray":
            self._left = int(rng.integers(6, 18))
            way = ("forward", "back", "left", "right")[int(rng.integers(4))]
            self._keys = frozenset({way, "jump"} if rng.random() < 0.3 else {way})
            self._turn = 0.0, float(rng.normal(0, 1.5))
        elif kind == "blow":
            self._left = int(rng.integers(4, 13))
            self._keys = frozenset({"attack"})
        else:
            self._left = int(rng.integers(self._tap[0], self._tap[1] + 1))
            self._keys = frozenset({f"hotbar.{int(rng.integers(1, 10))}"})
