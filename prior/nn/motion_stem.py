"""A stem that is told motion: the flow grid and a pair of frames on one grid, then a small residual trunk.

Ours, not VPT's: what moved tells actions, and a network learns to see motion only with far more play and computing than small
machines have. Shape suffixes: N frames, C channels, H height, W width, h and w the flow grid, D hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.motion import CHANNELS
from prior.nn.impala import ResidualBlock
from prior.nn.layers import conv, dense
from prior.nn.pixels import pixel_pairs


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

    The image branch sees a frame and how it differs from its neighbour, which flow cannot tell: a swinging hand, the
    marked hotbar slot, an opening window. The flow also reaches the output on a straight path, so that the camera, close
    to linear in the flow, is learned within minutes.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        flow_grid: tuple[int, int],
        stem_channels: int,
        trunk_channels: tuple[int, ...],
        hidden: int,
        fovea: bool = False,
    ) -> None:
        super().__init__()
        rows, columns = flow_grid
        stride = image_size[1] // columns
        if (rows * stride, columns * stride) != tuple(image_size):
            raise ValueError(
                f"image_size {image_size} must be the same whole multiple of flow_grid {flow_grid} in both directions"
            )
        self.patches = nn.Conv2d(6, stem_channels, stride, stride)
        self.fovea = self.fovea_dense = None
        self.flow = nn.Conv2d(CHANNELS, stem_channels, 3, padding=1)
        self.direct = nn.Linear(CHANNELS * rows * columns, hidden)
        self.whole = GlobalMotion(hidden)
        channels, (height, width) = 2 * stem_channels, flow_grid
        downs: list[nn.Module] = []
        for count in trunk_channels:
            downs.append(conv(channels, count, stride=2))
            channels, height, width = count, (height + 1) // 2, (width + 1) // 2
        self.blocks = nn.Sequential(*downs, ResidualBlock(channels, 1.0))
        self.dense = dense(channels * height * width, hidden, activate=False)
        if fovea:  # what the hand would meet: the same small trunk again, for the middle of the picture
            parts: list[nn.Module] = [nn.Conv2d(6, stem_channels, stride, stride), nn.ReLU()]
            inputs = stem_channels
            for count in trunk_channels:
                parts.append(conv(inputs, count, stride=2))
                inputs = count
            self.fovea = nn.Sequential(*parts, ResidualBlock(inputs, 1.0))
            self.fovea_dense = dense(inputs * height * width, hidden, activate=False)

    def forward(self, shown_NHWC: Tensor, neighbour_NHWC: Tensor, motion_NChw: Tensor, ahead: bool) -> Tensor:
        """Frames and their neighbours, uint8 (N, H, W, 3) or with a fovea (N, H, W, 6), and the flow between them -> (N, D).

        ahead: the neighbours are the frames after (flow from the frame to its neighbour), not those before (flow from the
        neighbour).
        """
        device, dtype = shown_NHWC.device.type, self.direct.weight.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        # One layout in memory for all: convolutions of tensors of two are several times as slow going backward.
        motion = motion_NChw.to(dtype).contiguous(memory_format=torch.channels_last)

        def pair(part: slice) -> Tensor:
            return pixel_pairs(shown_NHWC[..., part], neighbour_NHWC[..., part], ahead, dtype)

        joined = torch.cat([F.relu(self.patches(pair(slice(0, 3)))), F.relu(self.flow(motion))], 1)
        seen = self.dense(self.blocks(joined).flatten(1)) + self.direct(motion.flatten(1)) + self.whole(motion)
        if self.fovea is not None and self.fovea_dense is not None:
            seen = seen + self.fovea_dense(self.fovea(pair(slice(3, 6))).flatten(1))
        return F.relu(seen)
