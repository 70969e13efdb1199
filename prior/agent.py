"""The acting agent: a frame in, an action out, with the policy's memory of the frames before.

One agent can play many streams (games) at once: their frames are one batch, and each has its own memory.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.actions import Action
from data.frame_inputs import Eye, Views
from data.joint_actions import JointActions
from prior.nn.heads import sample
from prior.nn.memory import Memory
from prior.nn.precision import Precision, uses_bfloat16
from prior.policy import Policy


class PolicyAgent:
    """Plays a policy.

    deterministic: take the likeliest action instead of drawing one.
    temperature: above 1 draws more evenly, below 1 more greedily; on top of the model's own.
    min_p: never draw what is less likely than this share of the likeliest (Nguyen et al. 2024, arXiv 2407.01082); 0 draws as
    published. Of 8641 joint actions thousands are done by nobody, and each being unlikely does not keep all from being drawn.
    precision: ``float32`` (the published numbers), ``bfloat16``, or ``auto`` (bfloat16 where the hardware is faster at it);
    where the policy is of another type, the agent plays a copy of it.
    compiled: the image trunk through ``torch.compile`` (a minute at the start; for GPUs).
    """

    def __init__(
        self,
        policy: Policy,
        *,
        streams: int = 1,
        deterministic: bool = False,
        temperature: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        precision: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        if not temperature > 0:
            raise ValueError(
                f"temperature must be above 0, got {temperature}; deterministic=True takes the likeliest action"
            )
        if not 0 <= min_p <= 1:
            raise ValueError(f"min_p is a share of the likeliest action's probability, from 0 to 1; got {min_p}")
        bfloat16 = uses_bfloat16(precision, policy.device.type)
        dtype = torch.bfloat16 if bfloat16 else torch.promote_types(policy.dtype, torch.float32)
        if dtype != policy.dtype:
            policy = copy.deepcopy(policy)  # the caller's keeps its type
        # torch.compile sees through torch's own layers only, so it takes the place of ours.
        self.policy = policy.eval().to(dtype) if compiled else policy.eval().for_inference(dtype, streams)
        self.streams, self.deterministic, self.temperature, self.min_p = streams, deterministic, temperature, min_p
        self.actions = JointActions()
        self._features = torch.compile(policy.frame_features) if compiled else policy.frame_features
        self._generator = torch.Generator(policy.device)
        if seed is not None:
            self._generator.manual_seed(seed)
        else:
            self._generator.seed()
        self._eyes = [Eye(policy.config.inputs) for _ in range(streams)]
        self.seen: list[Views] = []
        """What the policy read of each stream's latest frame."""
        self.memory: Memory = policy.empty_memory(streams)

    def reset(self, streams: Sequence[int] | None = None) -> None:
        """Forget what was seen: of all streams, or of those given (the others go on)."""
        for stream in range(self.streams) if streams is None else streams:
            self._eyes[stream].reset()
        if streams is None:
            self.memory = self.policy.empty_memory(self.streams)
            return
        ended = torch.zeros(self.streams, dtype=torch.bool, device=self.policy.device)
        ended[list(streams)] = True
        self.memory = self.memory.forget(ended)

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action for the next frame of a single stream. observation: MineRL's, with ``pov``, uint8 (H, W, 3), RGB."""
        return self.act_many([observation["pov"]])[0]

    def act_many(self, frames: Sequence[NDArray[np.uint8]]) -> list[Action]:
        """The action for the next frame of each stream; frames: uint8 (H, W, 3), RGB, of any size."""
        track = self.actions.to_track(*self.joint(frames))
        return [track.action(index) for index in range(len(track))]

    @torch.inference_mode()
    def joint(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same as joint numbers: buttons (B,) and camera (B,). See :class:`data.joint_actions.JointActions`."""
        if len(frames) != self.streams:
            raise ValueError(
                f"got {len(frames)} frames for an agent of {self.streams} streams; one frame for each is needed"
            )
        self.seen = [eye.look(frame) for eye, frame in zip(self._eyes, frames, strict=True)]
        images, motion = (
            torch.from_numpy(np.concatenate([getattr(view, name) for view in self.seen])).to(self.policy.device)
            for name in ("images", "motion")
        )
        # The published agent draws the camera first.
        camera, buttons = (self._choose(logprobs) for logprobs in self._wanted(self._features(images, motion)))
        return buttons, camera

    def _wanted(self, features_BD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What to draw from on seeing a frame in each stream: camera (B, 121), buttons (B, 8641). Remembers the frames."""
        first = torch.zeros(self.streams, 1, dtype=torch.bool, device=features_BD.device)
        latents, self.memory = self.policy.latents(features_BD[:, None], self.memory, first)
        out = self.policy.heads(latents)
        return out.camera[:, 0], out.buttons[:, 0]

    def _choose(self, logprobs: torch.Tensor) -> NDArray[np.int64]:
        if self.deterministic:
            chosen = logprobs.argmax(-1)
        else:
            if self.temperature != 1:
                logprobs = torch.log_softmax(logprobs / self.temperature, -1)
            if self.min_p:
                least = logprobs.amax(-1, keepdim=True) + math.log(self.min_p)
                logprobs = logprobs.masked_fill(logprobs < least, -math.inf)
            chosen = sample(logprobs, generator=self._generator)
        numbers: NDArray[np.int64] = chosen.cpu().numpy()
        return numbers
