"""A novice and a player at one keyboard, by turns, so that recordings show the way out of where a novice gets.

What a policy does wrong leads to places where those it learnt from never were (Ross et al. 2011, "DAgger", arXiv 1011.0686).
Recordings that begin there teach it what to do. To be copied are the player's own actions, as in HG-DAgger (Kelly et al. 2019,
arXiv 1810.02890), and what it would have done in the novice's place, as in DAgger; but the turns end by chance, since a script
cannot tell when a novice needs help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from data.actions import Action
from vpt_pipeline.agents import Agent, ScriptedAgent

NOVICE_FRAMES, PLAYER_FRAMES = (60, 200), (80, 200)
"""How long a turn is, from and to."""
PLAN_FRAMES, THINKING_FRAMES = 16, 4
"""After so many frames the player that only advises makes another plan, since nobody follows the one it has; and during the
first of them it looks around, which is no advice."""
ADVISERS = 1000
"""What the numbers of players that advise begin with: more than there are turns."""


class Turns:
    """An agent that is two of them. The novice begins.

    novice: plays as long as it is its turn, its memory empty at first. player: makes a player for a turn, of a number of its
    own. seed: of the turns' lengths.
    """

    def __init__(self, novice: Agent, player: Callable[[int], ScriptedAgent], seed: int) -> None:
        self._novice, self._player, self._seed = novice, player, seed
        self.novice_spans: list[tuple[int, int]] = []
        """Frames in which the novice acted, from and to (that one not included)."""
        self.advice: list[tuple[int, Action]] = []
        """Of these, what the player would have done: the frame and the action."""

    def reset(self, observation: Mapping[str, Any]) -> None:
        """An episode begins."""
        self._dice = np.random.default_rng([self._seed, 0x7475726E])
        self._turn = self._frame = self._left = self._plans = 0
        self.novice_spans, self.advice = [], []
        self._held: frozenset[str] = frozenset()

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action on seeing this of the one whose turn it is."""
        if not self._left:
            self._change(observation)
        if self._who is self._novice:
            self._advise(observation, self._frame - self.novice_spans[-1][0])
            self.novice_spans[-1] = self.novice_spans[-1][0], self._frame + 1
        self._left -= 1
        self._frame += 1
        action = self._who.act(observation)
        self._held = action.buttons
        return action

    def _advise(self, observation: Mapping[str, Any], since: int) -> None:
        """Ask the player what it would do now. since: frames since the novice's turn began."""
        age = since % PLAN_FRAMES
        if not age:
            self._adviser = self._player(ADVISERS + self._plans)
            self._plans += 1
            self._adviser.reset(observation)
        action = self._adviser.advise(observation, self._held)
        if age >= THINKING_FRAMES and not self._adviser.slipped:
            self.advice.append((self._frame, action))

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
