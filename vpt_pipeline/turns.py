"""A novice and a player at one keyboard, by turns, so that recordings show the way out of where a novice gets.

What a policy does wrong leads to places where those it learnt from never were (Ross et al. 2011, "DAgger", arXiv 1011.0686).
Recordings that begin there teach it what to do. Only the player's own actions are to be copied, as in HG-DAgger (Kelly et al.
2019, arXiv 1810.02890); but the turns end by chance, since a script cannot tell when a novice needs help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from data.actions import Action
from vpt_pipeline.agents import Agent, ScriptedAgent

NOVICE_FRAMES, PLAYER_FRAMES = (60, 200), (80, 200)
"""How long a turn is, from and to."""


class Turns:
    """An agent that is two of them. The novice begins.

    novice: plays as long as it is its turn, its memory empty at first. player: makes a player for a turn, of a number of its
    own. seed: of the turns' lengths.
    """

    def __init__(self, novice: Agent, player: Callable[[int], ScriptedAgent], seed: int) -> None:
        self._novice, self._player, self._seed = novice, player, seed
        self.novice_spans: list[tuple[int, int]] = []
        """Frames in which the novice acted, from and to (that one not included)."""

    def reset(self, observation: Mapping[str, Any]) -> None:
        """An episode begins."""
        self._dice = np.random.default_rng([self._seed, 0x7475726E])
        self._turn = self._frame = self._left = 0
        self.novice_spans = []

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action on seeing this of the one whose turn it is."""
        if not self._left:
            self._change(observation)
        if self._who is self._novice:
            self.novice_spans[-1] = self.novice_spans[-1][0], self._frame + 1
        self._left -= 1
        self._frame += 1
        return self._who.act(observation)

    @property
    def slipped(self) -> bool:
        """Whether the last action was a slip of the player's hand."""
        return isinstance(self._who, ScriptedAgent) and self._who.slipped

    def _change(self, observation: Mapping[str, Any]) -> None:
        self._who: Agent
        if self._turn % 2:
            self._who, frames = self._player(self._turn), PLAYER_FRAMES
        else:
            self._who, frames = self._novice, NOVICE_FRAMES
            self.novice_spans.append((self._frame, self._frame))
        self._who.reset(observation)
        self._left = int(self._dice.integers(frames[0], frames[1] + 1))
        self._turn += 1
