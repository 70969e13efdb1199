"""IMPALA residual trunk: one image to one vector, frame by frame (Espeholt et al. 2018, as in VPT's lib/impala_cnn.py).

Everything costly in VPT happens here (97-99 % of the operations) and nothing here looks at time, so the vectors of a
frame can be computed once and kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.nn.layers import conv, dense

BLOCKS = 2
"""Residual blocks in each stack."""


class ResidualBlock(nn.Module):
    """(N, C, H, W) -> the same: x + two normed 3x3 convolutions, the branch ending in a ReLU."""

    def __init__(self, channels: int, init_scale: float) -> None:
        super().__init__()
        self.conv0 = conv(channels, channels, init_scale=math.sqrt(init_scale))
        self.conv1 = conv(channels, channels, init_scale=math.sqrt(init_scale))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv1(self.conv0(x))
        return out


class DownStack(nn.Module):
    """(N, C, H, W) -> (N, C_out, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int, init_scale: float, first_norm: bool) -> None:
        super().__init__()
        self.firstconv = conv(inputs, outputs, norm=first_norm)
        self.n = nn.GroupNorm(1, outputs)
        self.blocks = nn.ModuleList(ResidualBlock(outputs, init_scale) for _ in range(BLOCKS))

    def forward(self, x: Tensor) -> Tensor:
        x = self.n(F.max_pool2d(self.firstconv(x), 3, 2, 1))
        for block in self.blocks:
            x = block(x)
        return x


class ImpalaCNN(nn.Module):
    """(N, C, H, W) float in [0, 1] (or features of a stem) -> (N, 256)."""

    def __init__(
        self, image: tuple[int, int, int], channels: Sequence[int], first_norm: bool, outputs: int = 256
    ) -> None:
        super().__init__()
        height, width, inputs = image
        scale = math.sqrt(3) / math.sqrt(BLOCKS)
        stacks = []
        for index, count in enumerate(channels):
            stacks.append(DownStack(inputs, count, scale, first_norm or index > 0))
            inputs, height, width = count, (height + 1) // 2, (width + 1) // 2
        self.stacks = nn.ModuleList(stacks)
        self.dense = dense(inputs * height * width, outputs, init_scale=1.4)

    def forward(self, x: Tensor) -> Tensor:
        for stack in self.stacks:
            x = stack(x)
        out: Tensor = self.dense(torch.flatten(x, 1))
        return out


class ImageTrunk(nn.Module):
    """(N, C, H, W) -> (N, D)."""

    def __init__(self, image: tuple[int, int, int], channels: Sequence[int], hidden: int, first_norm: bool) -> None:
        super().__init__()
        self.cnn = ImpalaCNN(image, channels, first_norm)
        self.linear = dense(256, hidden)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.cnn(x))
        return out
