"""The scripted player: an agent that is told the truth about the game and plays a task in a person's manner."""

from __future__ import annotations

import zlib

import numpy as np

from data.actions import Action
from data.names import require_name
from vpt_pipeline.envs.truth import GameTruth
from vpt_pipeline.players.body import AnswersQuestions, Body, Script
from vpt_pipeline.players.scripts import SCRIPTS
from vpt_pipeline.players.style import STYLES, PlayerStyle


class ScriptedPlayer:
    """Plays one task in one style; the same seed in the same game gives the same play.

    env: answers questions about the game (``env.ask``).
    task: a name in ``SCRIPTS``; style: a style or a name in ``STYLES``; seed: of everything that is left to chance.
    """

    def __init__(self, env: AnswersQuestions, task: str, style: PlayerStyle | str, seed: int) -> None:
        require_name("task", task, SCRIPTS)
        if isinstance(style, str):
            require_name("player", style, STYLES)
            style = STYLES[style]
        self.task = task
        self.style = style
        self._env = env
        self._seed = seed
        self._body: Body | None = None
        self._script: Script | None = None

    @property
    def slipped(self) -> bool:
        """Whether the last action was a slip of the hand, which nobody should copy."""
        return self._body is not None and self._body.slipped

    def reset(self, truth: GameTruth) -> None:
        """Begin an episode; ``truth`` is the info that ``env.reset`` gave."""
        words = zlib.crc32(f"{self.task}/{self.style.name}".encode())
        self._body = Body(self._env, self.style, np.random.default_rng([self._seed, words]), truth)
        self._script = SCRIPTS[self.task](self._body)

    def act(self, truth: GameTruth) -> Action:
        """The action for the frame that ``truth`` belongs to."""
        if self._body is None or self._script is None:
            raise ValueError("reset(truth) the player before it acts")
        self._body.perceive(truth)
        return next(self._script)
