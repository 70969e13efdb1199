"""The loss of behavioural cloning: how unlikely the policy finds what was done.

Baker et al. 2022 (arXiv 2206.11795), section 4.2. The published script counts the camera's log-probability in every frame;
the paper's hierarchy means it to count only where the buttons leave the camera free (see data/joint_actions.py), which is the
default here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from data.actions import HOTBAR_SLOTS, UNKNOWN_SLOT
from data.joint_actions import BUTTON_CHOICES, JointActions
from prior.nn.heads import chosen_logprob
from prior.nn.memory import Memory
from prior.policy import Policy
from prior.sequences import Chunks

CameraLoss = Literal["when_turning", "always"]

SUMS = (
    "objective",
    "buttons",
    "camera",
    "weight",
    "buttons_right",
    "camera_right",
    "turning",
    "hotbar",
    "hotbar_right",
    "told",
)
"""What :class:`CloningLoss` sums up over frames, each times its weight but for the last three: those count every frame of which
it is known which slot of the hotbar is selected."""


class CloningLoss(nn.Module):
    """A batch of chunks -> sums over its frames, and the memory after it, through which no gradient will flow.

    checkpointed: keep none of the image trunk's activations for the backward pass, compute them again instead; so many frames
    at a time (0: keep them). bfloat16: of the trunk's products; what looks over time stays in float32.
    hotbar_head: tells from what is seen in a frame, (D) -> (9), which slot of the hotbar is selected, and learns it with
    a weight of ``hotbar`` in the loss. Tools look much alike, and keys that change them are pressed too seldom to learn by to
    tell them.
    """

    def __init__(
        self,
        policy: Policy,
        camera: CameraLoss = "when_turning",
        checkpointed: int = 0,
        bfloat16: bool = False,
        hotbar_head: nn.Linear | None = None,
        hotbar: float = 0.0,
    ) -> None:
        super().__init__()
        self.policy, self.camera, self.checkpointed, self._bfloat16 = policy, camera, checkpointed, bfloat16
        self.hotbar_head, self.hotbar = hotbar_head, hotbar
        free = JointActions().camera_counts(np.arange(BUTTON_CHOICES))
        self.register_buffer("_free", torch.from_numpy(free), persistent=False)

    def _features(self, images_NHWC: Tensor, motion_NChw: Tensor) -> Tensor:
        with torch.autocast(images_NHWC.device.type, torch.bfloat16, enabled=self._bfloat16):
            trunk = self.policy.frame_features
            if not (self.checkpointed and self.training):
                return trunk(images_NHWC, motion_NChw).float()
            parts = zip(*(torch.split(x, self.checkpointed) for x in (images_NHWC, motion_NChw)), strict=True)
            return torch.cat([checkpoint(trunk, *part, use_reentrant=False) for part in parts]).float()

    def forward(self, chunks: Chunks, memory: Memory) -> tuple[Tensor, Memory]:
        """Returns (len(SUMS),) and the memory."""
        batch, frames = chunks.first.shape
        features = self._features(chunks.images.flatten(0, 1), chunks.motion.flatten(0, 1)).view(batch, frames, -1)
        slot, right, told = self._hotbar(features, chunks.hotbar)
        if chunks.goals.shape[-1]:
            features = self.policy.with_goals(features, chunks.goals)
        latents, memory = self.policy.latents(features, memory, chunks.first)
        out_buttons, out_camera = self.policy.pi_head.buttons(latents), self.policy.pi_head.camera(latents)
        weight, free = chunks.weight, self._free[chunks.buttons]  # type: ignore[index]
        counted = weight if self.camera == "always" else weight * free
        buttons = -(weight * chosen_logprob(out_buttons, chunks.buttons)).sum()
        camera = -(counted * chosen_logprob(out_camera, chunks.camera)).sum()
        with torch.no_grad():
            sums = (
                buttons,
                camera,
                weight.sum(),
                (weight * (out_buttons.argmax(-1) == chunks.buttons)).sum(),
                (weight * free * (out_camera.argmax(-1) == chunks.camera)).sum(),
                (weight * free).sum(),
                slot,
                right,
                told,
            )
        objective = buttons + camera + self.hotbar * slot
        return torch.stack([objective, *(value.detach() for value in sums)]), memory.detach()

    def _hotbar(self, features_BTD: Tensor, hotbar_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How unlikely the selected slots are found, how many are found likeliest, and of how many frames they are known."""
        if self.hotbar_head is None:
            return (features_BTD.new_zeros(()),) * 3
        logits, true = self.hotbar_head(features_BTD).flatten(0, 1), hotbar_BT.flatten()
        unlikely = F.cross_entropy(logits, true, ignore_index=UNKNOWN_SLOT, reduction="sum")
        return unlikely, (logits.argmax(-1) == true).sum(), (true != UNKNOWN_SLOT).sum()


def new_hotbar_head(hidden: int) -> nn.Linear:
    """Of a network of that hidden size; it begins with all slots alike."""
    head = nn.Linear(hidden, HOTBAR_SLOTS)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return head


def means(sums: Tensor) -> dict[str, float]:
    """Of summed-up sums: nats a frame, and shares of frames in which the likeliest choice was right."""
    values = dict(zip(SUMS, sums.tolist(), strict=True))
    weight, turning = max(values["weight"], 1e-9), max(values["turning"], 1e-9)
    found = {
        "loss": (values["buttons"] + values["camera"]) / weight,
        "loss_buttons": values["buttons"] / weight,
        "loss_camera": values["camera"] / weight,
        "accuracy_buttons": values["buttons_right"] / weight,
        "accuracy_camera": values["camera_right"] / turning,
    }
    if told := values["told"]:
        found |= {"loss_hotbar": values["hotbar"] / told, "accuracy_hotbar": values["hotbar_right"] / told}
    return found
