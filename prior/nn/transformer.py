"""The stack of attention blocks over frame vectors (VPT's lib/util.py ``ResidualRecurrentBlocks``).

Names follow the published weights: ``blocks.i.pre_r_ln``, ``blocks.i.r.orc_block``, ``blocks.i.mlp0`` and ``mlp1``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prior.nn.attention import BLOCKED, Attended, KeysValues, RelativeAttention
from prior.nn.layers import dense, depth_scale
from prior.nn.memory import Memory, visible_frames


class _Recurrent(nn.Module):
    """Attention and its skip path, under the published name ``r.orc_block``."""

    def __init__(self, attention: RelativeAttention) -> None:
        super().__init__()
        self.orc_block = attention

    def forward(self, x_BTD: Tensor, mask_BTS: Tensor | None, past: KeysValues | None) -> Attended:
        attended, seen = self.orc_block(x_BTD, mask_BTS, past)
        return Attended(x_BTD + attended, seen)


class FrameBlock(nn.Module):
    """x_BTD -> the same. The skip path carries the *normed* input: the published networks do so, and weights need it."""

    def __init__(
        self, hidden: int, heads: int, layers: int, memory: int, causal: bool, ratio: int = 4, mlp_relu: bool = False
    ) -> None:
        super().__init__()
        self.pre_r_ln = nn.LayerNorm(hidden)
        self.r = _Recurrent(RelativeAttention(hidden, heads, layers, memory, causal))
        self.mlp0 = dense(hidden, hidden * ratio)
        self.mlp1 = dense(hidden * ratio, hidden, norm=False, activate=mlp_relu, init_scale=depth_scale(layers))

    def forward(self, x_BTD: Tensor, mask_BTS: Tensor | None = None, past: KeysValues | None = None) -> Attended:
        x_BTD, seen = self.r(self.pre_r_ln(x_BTD), mask_BTS, past)
        return Attended(x_BTD + self.mlp1(self.mlp0(x_BTD)), seen)


class FrameTransformer(nn.Module):
    """Through ``layers`` blocks, over the frames at hand alone (``forward``) or with a memory (``remember``)."""

    def __init__(
        self, hidden: int, heads: int, layers: int, memory: int, causal: bool, ratio: int = 4, mlp_relu: bool = False
    ) -> None:
        super().__init__()
        self.memory = memory
        self.blocks = nn.ModuleList(
            FrameBlock(hidden, heads, layers, memory, causal, ratio, mlp_relu) for _ in range(layers)
        )

    def forward(self, x_BTD: Tensor, mask_BTS: Tensor | None = None) -> Tensor:
        """x_BTD -> the same."""
        for block in self.blocks:
            x_BTD = block(x_BTD, mask_BTS).out
        return x_BTD

    def remember(self, x_BTD: Tensor, memory: Memory, first_BT: Tensor) -> tuple[Tensor, Memory]:
        """x_BTD -> the same, and the memory after it. first_BT: bool, True where an episode begins, at any frame.

        Any number of frames may come at once: the numbers do not depend on how an episode is cut into calls.
        """
        allowed_BTS, valid_BL = visible_frames(first_BT, memory.valid)
        mask_BTS = torch.where(allowed_BTS, 0.0, BLOCKED).to(x_BTD.dtype)
        kept: list[KeysValues] = []
        for block, past in zip(self.blocks, memory.layers, strict=True):
            x_BTD, (k_BSD, v_BSD) = block(x_BTD, mask_BTS, past)
            newest = slice(k_BSD.shape[1] - self.memory, None)
            kept.append((k_BSD[:, newest], v_BSD[:, newest]))
        return x_BTD, Memory(valid_BL, tuple(kept))
