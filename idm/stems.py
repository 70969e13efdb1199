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
from idm.motion import CHANNELS
from prior.nn.impala import ImageTrunk, ResidualBlock
from prior.nn.layers import FanIn, conv, dense
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


class GlobalMotion(nn.Module):
    """Flow grid (N, C, h, w) -> (N, D): how the view as a whole and its four quarters moved.

    Each median (robust against the hand, animals and a static HUD) is written on a soft one-hot scale, fine near zero
    and coarse far out, like the camera's own bins: on it the camera heads are linear and learn within minutes.
    """

    BINS = 25
    REACH = 5.0  # in asinh(4 * flow / 4 pixels): flows of up to 74 pixels are told apart

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(5 * 2 * self.BINS, hidden)

    def forward(self, motion_NCHW: Tensor) -> Tensor:
        flow = motion_NCHW[:, :2].float()
        rows, columns = flow.shape[2] // 2, flow.shape[3] // 2
        quarters = [flow[:, :, i : i + rows, j : j + columns] for i in (0, rows) for j in (0, columns)]
        medians = torch.stack([part.flatten(2).median(2).values for part in (flow, *quarters)], 1)  # (N, 5, 2)
        scaled = torch.asinh(4 * medians).clamp(-self.REACH, self.REACH) * ((self.BINS - 1) / (2 * self.REACH))
        centres = torch.arange(self.BINS, device=flow.device) - (self.BINS - 1) / 2
        soft = F.relu(1 - (scaled[..., None] - centres).abs())
        out: Tensor = self.linear(soft.flatten(1).to(self.linear.weight.dtype))
        return out


class MotionStem(nn.Module):
    """Flow grid and image pair on one grid, then a small residual trunk.

    The image branch sees a frame and what changes until the next one, which flow cannot tell: a swinging hand, the
    marked hotbar slot, an opening window. The flow also reaches the output on a straight path, so that the camera, close
    to linear in the flow, is learned within minutes.
    """

    def __init__(self, config: IDMConfig) -> None:
        super().__init__()
        self.grid = config.flow_grid
        stride = config.image_size[1] // config.flow_grid[1]
        if (config.flow_grid[0] * stride, config.flow_grid[1] * stride) != config.image_size:
            raise ValueError(
                f"image_size {config.image_size} must be the same whole multiple of flow_grid {config.flow_grid} in both"
            )
        self.patches = nn.Conv2d(6, config.stem_channels, stride, stride)
        self.flow = nn.Conv2d(CHANNELS, config.stem_channels, 3, padding=1)
        self.direct = nn.Linear(CHANNELS * config.flow_grid[0] * config.flow_grid[1], config.hidden)
        self.whole = GlobalMotion(config.hidden)
        channels, (height, width) = 2 * config.stem_channels, config.flow_grid
        downs: list[nn.Module] = []
        for count in config.trunk_channels:
            downs.append(conv(channels, count, stride=2))
            channels, height, width = count, (height + 1) // 2, (width + 1) // 2
        self.blocks = nn.Sequential(*downs, ResidualBlock(channels, 1.0))
        self.dense = dense(channels * height * width, config.hidden, activate=False)

    def forward(self, images_BTHWC: Tensor, motion_BTCHW: Tensor) -> Tensor:
        """uint8 (B, T + 2, H, W, 3), (B, T + 2, C, h, w) -> (B, T, D). Of the halo only the frame after is used."""
        device, dtype = images_BTHWC.device.type, self.direct.weight.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)  # whole numbers up to 256 are exact in bfloat16
        batch, frames = len(images_BTHWC), images_BTHWC.shape[1] - 2
        motion = motion_BTCHW[:, 1:-1].flatten(0, 1).to(dtype)
        pixels = images_BTHWC[:, 1:].to(dtype)
        change = pixels[:, 1:] - pixels[:, :-1]
        pair_BTHWC = torch.cat([pixels[:, :-1].mul(1 / 255).sub_(0.5), change.mul_(4 / 255)], -1)
        pair = pair_BTHWC.flatten(0, 1).permute(0, 3, 1, 2)  # channels-last in memory, the faster layout on CPUs
        joined = torch.cat([F.relu(self.patches(pair)), F.relu(self.flow(motion))], 1)
        trunk = self.dense(self.blocks(joined).flatten(1)) + self.direct(motion.flatten(1)) + self.whole(motion)
        return F.relu(trunk).view(batch, frames, -1)


def build_stem(config: IDMConfig) -> Any:
    return Conv3dStem(config) if config.stem == "conv3d" else MotionStem(config)
