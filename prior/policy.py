"""VPT's policy: frames so far -> the next action, over joint buttons and a binned camera, and the state's value.

Baker et al. 2022, "Video PreTraining" (arXiv 2206.11795); parameter names are those of openai/Video-Pre-Training
(lib/policy.py ``MinecraftAgentPolicy``), so that its weights fit.

The forward pass is in two halves on purpose. ``frame_features`` is nearly all of the work and looks at one frame;
``latents`` is cheap, looks back, and can be run again over cached features.

Shape suffixes: B streams, T frames, D hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.config import PolicyConfig
from prior.nn.heads import CategoricalHead, ValueHead, chosen_logprob
from prior.nn.impala import ImageTrunk, ready_for_inference
from prior.nn.layers import dense
from prior.nn.linear import pack_linears
from prior.nn.memory import Memory
from prior.nn.motion_stem import MotionStem
from prior.nn.transformer import FrameTransformer

BUTTON_CHOICES = 8641
"""Joint button actions (data/joint_actions.py)."""
CAMERA_CHOICES = 121
"""Joint camera bins: 11 of pitch times 11 of yaw."""


@dataclass(frozen=True)
class PolicyOutput:
    """buttons: log-probabilities (B, T, 8641). camera: (B, T, 121). value: (B, T, 1), normalised. latents: (B, T, D), what the
    heads see."""

    buttons: Tensor
    camera: Tensor
    value: Tensor
    latents: Tensor


class PreviousFrameStem(MotionStem):
    """The motion stem, looking from each frame back to the one before."""

    def forward(self, images_NHWC: Tensor, motion_NChw: Tensor) -> Tensor:  # type: ignore[override]
        """uint8 (N, H, W, 2 * C), frames and those before them, and the flow from those -> (N, D)."""
        count = images_NHWC.shape[-1] // 2
        return super().forward(images_NHWC[..., :count], images_NHWC[..., count:], motion_NChw, ahead=False)


FrameStem = ImageTrunk | PreviousFrameStem
"""What of a policy looks at single frames, one way or the other."""


def frame_stem(config: PolicyConfig) -> FrameStem:
    """Of random weights."""
    if config.stem == "motion":
        return PreviousFrameStem(
            config.image_size,
            config.flow_grid,
            config.stem_channels,
            config.trunk_channels,
            config.hidden,
            config.fovea,
        )
    return ImageTrunk((*config.image_size, 3), config.trunk_channels, config.hidden, first_norm=False)


def stem_features(
    stem: FrameStem, config: PolicyConfig, images_NHWC: Tensor, motion_NChw: Tensor | None = None
) -> Tensor:
    """See :meth:`Policy.frame_features`."""
    if isinstance(stem, PreviousFrameStem):
        count = 2 * config.inputs.channels
        if motion_NChw is None or images_NHWC.shape[-1] != count:
            raise ValueError(
                f"this policy reads motion: expected images (N, H, W, {count}), each frame with the one before it, and the "
                f"motion between them, got images {tuple(images_NHWC.shape)} and "
                f"{'no' if motion_NChw is None else 'a'} motion; data.frame_inputs.Eye and FrameInputs.views make both"
            )
        seen: Tensor = stem(images_NHWC, motion_NChw)
        return seen
    pixels = images_NHWC.to(stem.input_dtype).permute(0, 3, 1, 2) / 255.0
    out: Tensor = stem(pixels)
    return out


class _Net(nn.Module):
    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.img_process = frame_stem(config)
        self.recurrent_layer = FrameTransformer(
            config.hidden, config.heads, config.layers, config.memory, True, config.mlp_ratio, config.mlp_relu
        )
        self.lastlayer = dense(config.hidden, config.hidden)
        self.final_ln = nn.LayerNorm(config.hidden)


class _Heads(nn.Module):
    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.camera = CategoricalHead(config.hidden, (), CAMERA_CHOICES, config.temperature)
        self.buttons = CategoricalHead(config.hidden, (), BUTTON_CHOICES, config.temperature)


class Policy(nn.Module):
    """See the module's docstring.

    faster: parameters, by name, that learn so many times as fast as the others.
    """

    faster: Mapping[str, float] = MappingProxyType({})

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.net = _Net(config)
        self.pi_head = _Heads(config)
        self.value_head = ValueHead(config.hidden)

    @property
    def device(self) -> torch.device:
        return self.net.final_ln.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.net.final_ln.weight.dtype

    def for_inference(self, dtype: torch.dtype | None = None, streams: int | None = None) -> Policy:
        """Make the policy fast where it lies, in its own type or another; in float32 with the same numbers to its rounding.

        streams: how many streams act at a time, a frame each; on CPUs this keeps a second copy of the large weights. Training
        the policy further ends all of it.
        """
        if isinstance(self.net.img_process, ImageTrunk):
            ready_for_inference(self, self.net.img_process, dtype or self.dtype)
        else:
            self.to(dtype or self.dtype)
        if streams is not None:
            pack_linears(self, streams)
        return self

    def empty_memory(self, batch: int) -> Memory:
        """Nothing remembered, for ``batch`` streams."""
        config = self.config
        return Memory.empty(batch, config.memory, config.hidden, config.layers, self.device, self.dtype)

    def frame_features(self, images_NHWC: Tensor, motion_NChw: Tensor | None = None) -> Tensor:
        """What is seen in N frames -> (N, D). See :class:`data.frame_inputs.Views`.

        images: uint8 (N, H, W, 3), RGB, of ``config.image_size``; for motion stems (N, H, W, 6), and the motion (N, C, h, w).
        """
        return stem_features(self.net.img_process, self.config, images_NHWC, motion_NChw)

    def with_goals(self, features_BTD: Tensor, goals_BTG: Tensor | None = None) -> Tensor:
        """Features of frames with what is wanted in them: for policies that know goals (prior/text/policy.py)."""
        raise ValueError("this policy knows no goals; prior.text.policy.GoalPolicy.of makes one that does of it")

    def latents(self, features_BTD: Tensor, memory: Memory, first_BT: Tensor) -> tuple[Tensor, Memory]:
        """(B, T, D) -> (B, T, D), what the heads see, and the memory after it.

        first_BT: bool, True where an episode begins; at any frame, in any stream.
        """
        x, memory = self.net.recurrent_layer.remember(features_BTD, memory, first_BT)
        return self.net.final_ln(self.net.lastlayer(F.relu(x))), memory

    def heads(self, latents_BTD: Tensor) -> PolicyOutput:
        return PolicyOutput(
            self.pi_head.buttons(latents_BTD),
            self.pi_head.camera(latents_BTD),
            self.value_head(latents_BTD),
            latents_BTD,
        )

    def forward(
        self, images_BTHWC: Tensor, memory: Memory, first_BT: Tensor | None = None, motion_BTChw: Tensor | None = None
    ) -> tuple[PolicyOutput, Memory]:
        """uint8 (B, T, H, W, 3) -> what to do in each frame, and the memory after the last one.

        Motion stems want images (B, T, H, W, 6) and the motion: see :meth:`frame_features`.
        first_BT: bool, True where an episode begins; None where none does. (The published code reads the first column alone
        and ignores the others in silence: :func:`as_published`.)
        """
        batch, frames = images_BTHWC.shape[:2]
        if first_BT is None:
            first_BT = torch.zeros(batch, frames, dtype=torch.bool, device=images_BTHWC.device)
        motion = None if motion_BTChw is None else motion_BTChw.flatten(0, 1)
        features = self.frame_features(images_BTHWC.flatten(0, 1), motion).view(batch, frames, -1)
        latents, memory = self.latents(features, memory, first_BT)
        return self.heads(latents), memory


def action_logprob(
    output: PolicyOutput, buttons_BT: Tensor, camera_BT: Tensor, camera_counts_BT: Tensor | None = None
) -> Tensor:
    """Log-probability (B, T) of joint actions (data/joint_actions.py), in nats.

    camera_counts_BT: bool, where the button action leaves the camera free (:meth:`JointActions.camera_counts`); elsewhere
    the camera is not a choice of the policy's and adds nothing, as the paper describes. None counts it always, as the
    published code does.
    """
    camera = chosen_logprob(output.camera, camera_BT)
    if camera_counts_BT is not None:
        camera = torch.where(camera_counts_BT, camera, 0.0)
    return chosen_logprob(output.buttons, buttons_BT) + camera


def as_published(first_BT: Tensor) -> Tensor:
    """Episode starts as the published code sees them: only those in the first frame of a call."""
    seen = torch.zeros_like(first_BT)
    seen[:, 0] = first_BT[:, 0]
    return seen
