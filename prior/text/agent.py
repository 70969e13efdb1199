"""The acting agent of a policy with goals: told what to do at any time, and guided towards it.

With guidance each stream (game) is two: one that knows the goal and one that does not, with the same frames and each with its
own memory. The image trunk, nearly all of the work, runs once a frame for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prior.agent import PolicyAgent
from prior.nn.linear import pack_linears
from prior.nn.precision import Precision
from prior.text.policy import GoalPolicy, guided


class GuidedAgent(PolicyAgent):
    """Plays a policy with goals; the other settings are those of :class:`PolicyAgent`.

    scale: of :func:`prior.text.policy.guided`; 0 plays without guidance, at one stream's cost. Without a goal set, the
    policy plays as it learned to where it had none.
    """

    policy: GoalPolicy

    def __init__(
        self,
        policy: GoalPolicy,
        *,
        scale: float = 6.0,
        streams: int = 1,
        deterministic: bool = False,
        temperature: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        precision: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        if not scale >= 0:
            raise ValueError(f"the scale of guidance must be at least 0, got {scale}")
        super().__init__(
            policy,
            streams=streams,
            deterministic=deterministic,
            temperature=temperature,
            min_p=min_p,
            seed=seed,
            precision=precision,
            compiled=compiled,
        )
        self.scale = scale
        self._ways = 2 if scale else 1
        self.goals = torch.zeros(streams, self.policy.goal_size, device=self.policy.device)
        self.memory = self.policy.empty_memory(self._ways * streams)
        if not compiled:  # what looks back sees more rows than the image trunk
            net = self.policy.net
            for part in (net.recurrent_layer, net.lastlayer, self.policy.pi_head):
                pack_linears(part, self._ways * streams)

    def set_goal(self, goal: Tensor | NDArray[np.float32] | None, stream: int | None = None) -> None:
        """What all streams want from now on, or one of them: an embedding (G,) or (1, G), or None for nothing.

        The memory stays, as published: a goal may change in the middle of a game.
        """
        size = self.policy.goal_size
        row = torch.zeros(size) if goal is None else torch.as_tensor(goal).detach()
        if row.shape not in ((size,), (1, size)):
            raise ValueError(f"expected a goal of {size} numbers, got one of shape {tuple(row.shape)}")
        self.goals[slice(None) if stream is None else stream] = row.reshape(size).to(self.goals)

    def reset(self, streams: Sequence[int] | None = None) -> None:
        """Forget what was seen: of all streams, or of those given. Goals stay."""
        ended = torch.ones(self.streams, dtype=torch.bool, device=self.policy.device)
        if streams is not None:
            ended[:] = False
            ended[list(streams)] = True
        for stream in ended.nonzero().flatten().tolist():
            self._eyes[stream].reset()
        self.memory = self.memory.forget(ended.repeat(self._ways))

    def _wanted(self, features_BD: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`PolicyAgent._wanted`, guided."""
        rows = self._ways * self.streams  # those with the goal, then those without
        goals = torch.cat([self.goals, torch.zeros_like(self.goals)])[:rows, None]
        seen = self.policy.with_goals(features_BD.repeat(self._ways, 1)[:, None], goals)
        first = torch.zeros(rows, 1, dtype=torch.bool, device=seen.device)
        latents, self.memory = self.policy.latents(seen, self.memory, first)
        camera, buttons = self.policy.pi_head.camera(latents)[:, 0], self.policy.pi_head.buttons(latents)[:, 0]
        if self._ways == 1:
            return camera, buttons
        knows, other = slice(self.streams), slice(self.streams, None)
        return guided(camera[knows], camera[other], self.scale), guided(buttons[knows], buttons[other], self.scale)
