"""The building block of every VPT network: [norm on the input] -> linear or convolution -> [ReLU].

Shape suffixes: N frames, C channels, H height, W width, B batch, T time, D hidden size.
The rule that fixes parameter names is the published one (openai/Video-Pre-Training, lib/util.py and lib/torch_util.py):
a layer with an input norm has no bias, a layer without one has a bias.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.nn.linear import Linear

NormKind = Literal["none", "layer", "group"]


def _norm(kind: NormKind, channels: int) -> nn.Module | None:
    if kind == "none":
        return None
    return nn.LayerNorm(channels) if kind == "layer" else nn.GroupNorm(1, channels)


class FanIn(nn.Module):
    """Norm -> layer -> ReLU, with the rows of the layer's weight scaled to the norm ``init_scale`` at the start."""

    layer: nn.Module

    def __init__(self, layer: nn.Module, norm: nn.Module | None, activate: bool, init_scale: float) -> None:
        super().__init__()
        if norm is not None:
            self.norm: nn.Module = norm
        self.layer = layer
        self.activate = activate
        weight: Tensor = layer.weight  # type: ignore[assignment]
        with torch.no_grad():
            rows = weight.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (weight.ndim - 1))
            weight.mul_(init_scale / rows)
            if layer.bias is not None:
                layer.bias.zero_()  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "norm"):
            x = self.norm(x)
        x = self.layer(x)
        return F.relu(x) if self.activate else x


def dense(inputs: int, outputs: int, norm: bool = True, activate: bool = True, init_scale: float = 1.0) -> FanIn:
    """(..., inputs) -> (..., outputs)."""
    return FanIn(
        Linear(inputs, outputs, bias=not norm), _norm("layer" if norm else "none", inputs), activate, init_scale
    )


def conv(
    inputs: int, outputs: int, norm: bool = True, init_scale: float = 1.0, kernel: int = 3, stride: int = 1
) -> FanIn:
    """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), zero-padded by half the kernel."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, bias=not norm)
    return FanIn(layer, _norm("group" if norm else "none", inputs), True, init_scale)


def depth_scale(layers: int) -> float:
    """The initial scale of what each of ``layers`` residual blocks adds (two branches a block)."""
    return math.sqrt(0.5 / math.sqrt(layers)) if layers else 1.0
