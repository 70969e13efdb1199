"""The inverse dynamics model: which actions were taken in each frame, given the frames before *and* after it.

Baker et al. 2022, "Video PreTraining" (arXiv 2206.11795), section 3 and appendix D; layout and parameter names of the
``conv3d`` stem are those of openai/Video-Pre-Training, so that its weights fit.

The forward pass is in two halves on purpose. ``frame_features`` is nearly all of the work and looks at a frame and its
few neighbours only; ``window_logprobs`` is cheap and looks at a whole window. Labelling computes the first once a frame,
however much windows overlap.

Shape suffixes: B windows, T frames, D hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.actions import BUTTONS, HOTBAR_SLOTS, CameraQuantizer
from idm.config import IDMConfig
from idm.stems import build_stem
from prior.nn.heads import CategoricalHead
from prior.nn.impala import ready_for_inference
from prior.nn.layers import dense
from prior.nn.transformer import FrameTransformer

QUANTIZER = CameraQuantizer()


@dataclass(frozen=True)
class ActionLogProbs:
    """buttons: (B, T, 20, 2), index 1 = held. camera: (B, T, 2, 11), pitch then yaw. gui: (B, T, 2), index 1 = open, and
    slot: (B, T, 9), which one of the hotbar's is selected, or None for models that do not say."""

    buttons: Tensor
    camera: Tensor
    gui: Tensor | None = None
    slot: Tensor | None = None


class TemporalConv(nn.Module):
    """x_BTD -> the same: a residual convolution over seven frames, which gives the transformer a sense of order."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.mix = nn.Conv1d(hidden, hidden, 7, padding=3)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + F.relu(self.mix(self.norm(x_BTD).transpose(1, 2))).transpose(1, 2)


class _Net(nn.Module):
    """Stem, trunk and transformer under the published names."""

    def __init__(self, config: IDMConfig) -> None:
        super().__init__()
        stem = build_stem(config)
        if config.stem == "conv3d":
            self.conv3d_layer, self.img_process = stem.conv3d_layer, stem.img_process
            self._stem = [stem]  # in a list: registered under the published names only
        else:
            self.motion = stem
        self.temporal = nn.Sequential(*(TemporalConv(config.hidden) for _ in range(config.temporal_layers)))
        self.recurrent_layer = FrameTransformer(
            config.hidden, config.heads, config.layers, config.attention_reach, causal=False
        )
        if config.stem == "conv3d":
            # The published code computes this layer and throws it away; it is kept so that its weights load.
            self.lastlayer = dense(config.hidden, config.hidden)
        self.final_ln = nn.LayerNorm(config.hidden)

    @property
    def stem(self) -> Any:
        return self._stem[0] if hasattr(self, "_stem") else self.motion


class _Heads(nn.Module):
    def __init__(self, config: IDMConfig) -> None:
        super().__init__()
        self.buttons = CategoricalHead(config.hidden, (len(BUTTONS),), 2, config.temperature)
        self.camera = CategoricalHead(config.hidden, (2,), QUANTIZER.bins, config.temperature)
        if config.gui_head:
            self.gui = CategoricalHead(config.hidden, (), 2, config.temperature)
        if config.slot_head:
            self.slot = CategoricalHead(config.hidden, (), HOTBAR_SLOTS, config.temperature)


class InverseDynamicsModel(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: IDMConfig) -> None:
        super().__init__()
        self.config = config
        self.net = _Net(config)
        self.pi_head = _Heads(config)

    @property
    def device(self) -> torch.device:
        return self.net.final_ln.weight.device

    def for_inference(self, dtype: torch.dtype | None = None) -> InverseDynamicsModel:
        """Make VPT's image trunk fast where it lies; in float32 with the same numbers to its rounding. Training ends that."""
        dtype = dtype or self.net.final_ln.weight.dtype
        if self.config.stem != "conv3d":
            return self.to(dtype)
        ready_for_inference(self, self.net.img_process, dtype)
        return self

    def frame_features(self, images: Tensor, motion: Tensor) -> Tensor:
        """Frames with ``config.halo`` neighbours on each side -> the vectors of the frames in between.

        images: uint8 (T + 2 halo, H, W, 3); motion: (T + 2 halo, C, h, w), see :class:`data.frame_inputs.FrameInputs`.
        Returns (T, D).
        """
        out: Tensor = self.net.stem(images[None], motion[None])[0]
        return out

    def window_logprobs(self, features_BTD: Tensor) -> ActionLogProbs:
        """(B, T, D) -> log-probabilities of the actions. Any T works; the model was trained on ``config.window``."""
        x = self.net.recurrent_layer(self.net.temporal(features_BTD))
        x = F.relu(x)
        x = self.net.final_ln(self.net.lastlayer(x) if self.config.last_layer else x)
        gui = self.pi_head.gui(x) if self.config.gui_head else None
        slot = self.pi_head.slot(x) if self.config.slot_head else None
        return ActionLogProbs(self.pi_head.buttons(x), self.pi_head.camera(x), gui, slot)

    def forward(self, images: Tensor, motion: Tensor) -> ActionLogProbs:
        """Whole windows: images (B, T + 2 halo, H, W, 3), motion (B, T + 2 halo, C, h, w)."""
        return self.window_logprobs(self.net.stem(images, motion))


def expected_camera(logprobs: Tensor) -> Tensor:
    """(..., 11) log-probabilities -> expected degrees (...)."""
    centres = torch.as_tensor(QUANTIZER.centres, dtype=logprobs.dtype, device=logprobs.device)
    out: Tensor = (logprobs.exp() * centres).sum(-1)
    return out
