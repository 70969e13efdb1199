"""The stack of attention blocks over frame vectors (VPT's lib/util.py ``ResidualRecurrentBlocks``).

Names follow the published weights: ``blocks.i.pre_r_ln``, ``blocks.i.r.orc_block``, ``blocks.i.mlp0`` and ``mlp1``.
"""

from __future__ import annotations

from torch import Tensor, nn

from prior.nn.attention import RelativeAttention
from prior.nn.layers import dense, depth_scale


class _Recurrent(nn.Module):
    """Only carries the published name ``r.orc_block``."""

    def __init__(self, attention: RelativeAttention) -> None:
        super().__init__()
        self.orc_block = attention

    def forward(self, x_BTD: Tensor, allowed_BTS: Tensor | None) -> Tensor:
        out: Tensor = self.orc_block(x_BTD, allowed_BTS)
        return out


class FrameBlock(nn.Module):
    """x_BTD -> the same. The skip path carries the *normed* input: the published networks do so, and weights need it."""

    def __init__(self, hidden: int, heads: int, layers: int, memory: int, causal: bool, ratio: int = 4) -> None:
        super().__init__()
        self.pre_r_ln = nn.LayerNorm(hidden)
        self.r = _Recurrent(RelativeAttention(hidden, heads, layers, memory, causal))
        self.mlp0 = dense(hidden, hidden * ratio)
        self.mlp1 = dense(hidden * ratio, hidden, norm=False, activate=False, init_scale=depth_scale(layers))

    def forward(self, x_BTD: Tensor, allowed_BTS: Tensor | None = None) -> Tensor:
        x_BTD = self.pre_r_ln(x_BTD)
        x_BTD = x_BTD + self.r(x_BTD, allowed_BTS)
        out: Tensor = x_BTD + self.mlp1(self.mlp0(x_BTD))
        return out


class FrameTransformer(nn.Module):
    """x_BTD -> the same, through ``layers`` blocks."""

    def __init__(self, hidden: int, heads: int, layers: int, memory: int, causal: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FrameBlock(hidden, heads, layers, memory, causal) for _ in range(layers))

    def forward(self, x_BTD: Tensor, allowed_BTS: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x_BTD = block(x_BTD, allowed_BTS)
        return x_BTD
