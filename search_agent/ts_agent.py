"""TS-BC as published: its rules (search_agent/ts_rules.py) over a set of demonstrations with embeddings.

For comparison, and for sets made as it made them: latents of VPT's foundation-model-1x, nulls kept, and as the embedder the
folder of STEVE-1's converted weights, which has the prior, too. One published defect is not here: frames that MineCLIP was
shown lying on their side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.actions import Action, ActionTrack
from search_agent.demos import DemoSet
from search_agent.encoder import Encoder
from search_agent.session import chosen, encoder_of
from search_agent.ts_rules import TsRules, TsSettings, TsStep
from search_agent.wishes import TextWishes, without_embeddings


class TsAgent:
    """Plays the enabled demonstrations, with tags given those that have one of them, towards a goal: :meth:`want` one first.

    Raises ValueError for a demonstration without embeddings.
    """

    def __init__(
        self,
        demos: DemoSet,
        encoder: Encoder | None = None,
        tags: Sequence[str] = (),
        settings: TsSettings | None = None,
    ) -> None:
        self.set = demos
        self.demos = chosen(demos.folder, demos.read(), tags)
        goals = [demo.goals for demo in self.demos if demo.goals is not None]
        if len(goals) < len(self.demos):
            lacking = ", ".join(demo.name for demo in self.demos if demo.goals is None)
            raise ValueError(
                f"{demos.folder}: TS-BC searches towards a goal, and demonstrations have no embeddings to compare one with "
                f"({lacking[:80]}); {without_embeddings(demos)}"
            )
        self.encoder = encoder or encoder_of(demos)
        self.rules = TsRules(
            np.concatenate([demo.latents for demo in self.demos]),
            np.concatenate(goals),
            [len(demo) for demo in self.demos],
            settings or TsSettings(),
        )
        self._track = ActionTrack.join([demo.track for demo in self.demos])
        self.step: TsStep | None = None
        self.reset()

    def want(self, wish: NDArray[np.floating]) -> None:
        """The goal from now on, (G,) in the space of the set's embeddings. Counters and penalties stay, as published."""
        self.rules.set_goal(wish)

    def want_text(self, text: str, seed: int = 0) -> None:
        """:meth:`want` in words. Where the set's embedder has STEVE-1's prior, one goal is drawn from it, as published."""
        if not text.strip():
            raise ValueError("TS-BC searches towards a goal; expected a text, such as 'chop down a tree'")
        self.want(TextWishes(self.set).wish(text, seed))

    def reset(self, observation: Mapping[str, Any] | None = None) -> None:
        """An episode begins; the goal stays."""
        self.rules.reset()
        self._stream = self.encoder.stream()

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action on seeing ``observation["pov"]``, uint8 (H, W, 3)."""
        step = self.step = self.rules.step(self._stream.look(observation["pov"]))
        if step.frame is None:
            return Action(camera=(0.0, self.rules.settings.warmup_yaw))
        return self._track.action(step.frame)
