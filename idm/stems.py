"""How neighbouring frames enter the model: VPT's convolution over five frames, and the motion stem.

Shape suffixes: B clips, T frames, C channels, H height, W width, D hidden size. Both stems map T frames and their ``halo``
neighbours on each side to T vectors of the image trunk; neighbours that do not exist are black (zero padding).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idm.config import IDMConfig
from prior.nn.impala import ImageTrunk
from prior.nn.layers import FanIn
from prior.nn.motion_stem import MotionStem
from prior.nn.packed import frames_at_once


class Conv3dStem(nn.Module):
    """VPT's (lib/policy.py ``InverseActionNet``): Conv3d over five frames, ReLU, no norm; then the IMPALA trunk."""

    def __init__(self, config: IDMConfig) -> None:
        super().__init__()
        layer = nn.Conv3d(3, config.stem_channels, (5, 1, 1))
        self.conv3d_layer = FanIn(layer, None, True, 1.0)
        self.img_process = ImageTrunk(
            (*config.image_size, config.stem_channels), config.trunk_channels, config.hidden, True
        )

    def forward(self, images_BTHWC: Tensor, motion_BTCHW: Tensor) -> Tensor:
        """uint8 (B, T + 4, H, W, 3) -> (B, T, D)."""
        if self.img_process.cnn.packed:
            return torch.stack([self._packed(images) for images in images_BTHWC])
        dtype = self.conv3d_layer.layer.weight.dtype
        pixels_BCTHW = images_BTHWC.permute(0, 4, 1, 2, 3).to(dtype) / 255.0  # type: ignore[arg-type]
        stem_BTCHW = self.conv3d_layer(pixels_BCTHW).transpose(1, 2)
        out: Tensor = self.img_process(stem_BTCHW.flatten(0, 1)).unflatten(0, stem_BTCHW.shape[:2])
        return out

    def _packed(self, images_THWC: Tensor) -> Tensor:
        """uint8 (T + 4, H, W, 3) -> (T, D), a few frames at a time: the five frames are channels of one picture."""
        layer: nn.Conv3d = self.conv3d_layer.layer  # type: ignore[assignment]
        weight, bias = layer.weight.detach().float().flatten(1) / 255, layer.bias
        frames, cnn = len(images_THWC) - 4, self.img_process.cnn
        chunk = frames_at_once(images_THWC.shape[1], images_THWC.shape[2], cnn.widest)
        out = []
        for start in range(0, frames, chunk):
            count = min(chunk, frames - start)
            five = torch.stack([images_THWC[start + k : start + k + count] for k in range(5)], -1)
            stem_THWC = F.linear(five.flatten(3).float(), weight, None if bias is None else bias.float()).relu_()
            out.append(self.img_process(stem_THWC.permute(0, 3, 1, 2)))
        return torch.cat(out)


class NextFrameStem(MotionStem):
    """The motion stem, looking from each frame to the next."""

    def forward(self, images_BTHWC: Tensor, motion_BTCHW: Tensor) -> Tensor:  # type: ignore[override]
        """uint8 (B, T + 2, H, W, 3), (B, T + 2, C, h, w) -> (B, T, D). Of the halo only the frame after is used."""
        batch, frames = len(images_BTHWC), images_BTHWC.shape[1] - 2
        shown, after = images_BTHWC[:, 1:-1].flatten(0, 1), images_BTHWC[:, 2:].flatten(0, 1)
        return super().forward(shown, after, motion_BTCHW[:, 1:-1].flatten(0, 1), ahead=True).view(batch, frames, -1)


def build_stem(config: IDMConfig) -> Any:
    if config.stem == "conv3d":
        return Conv3dStem(config)
    return NextFrameStem(
        config.image_size, config.flow_grid, config.stem_channels, config.trunk_channels, config.hidden
    )
