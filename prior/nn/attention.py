"""Masked attention over frames with muP scaling and a learned relative bias (VPT's lib/xf.py).

Shape suffixes: B batch, T query frames, S key frames, H heads, E head size, D = H * E hidden size, M remembered frames.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.nn.layers import depth_scale
from prior.nn.linear import Linear

BASIS = 10
"""Number of basis functions of the relative bias; each head and query mixes them anew."""


BLOCKED = -1e9
"""What is added to the logit of a frame that must not be seen; the softmax makes an exact zero of it."""

KeysValues = tuple[Tensor, Tensor]
"""Keys and values (B, S, D) of S frames, heads side by side."""


class Attended(NamedTuple):
    """out (B, T, D) and the keys and values of every frame that was looked at."""

    out: Tensor
    seen: KeysValues


def _rows(weight: Tensor, scale: float) -> None:
    with torch.no_grad():
        weight.mul_(scale / weight.norm(dim=1, keepdim=True).clamp_min(1e-12))


@functools.lru_cache(maxsize=64)
def _distances(frames: int, keys: int, reach: int, shift: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(T, S) twice: which of the ``reach`` biases belongs to a query and a key, and whether one does."""
    with torch.inference_mode(False):  # they serve training, too
        query = torch.arange(frames, device=device)[:, None] + (keys - frames)
        index = query - torch.arange(keys, device=device)[None, :] + shift
        return index.clamp(0, reach - 1), (index >= 0) & (index < reach)


class RelativeAttention(nn.Module):
    """x_BTD (and what is remembered of earlier frames) -> y_BTD.

    ``memory`` is the number of remembered frames that the relative bias reaches. 0 means no bias and no order at all, as
    in the published inverse dynamics model, whose sense of time comes from its stem alone. With memory above 0 and
    ``causal=False`` the bias is two-sided: it reaches ``memory - 1`` frames back and as many ahead.
    """

    def __init__(self, hidden: int, heads: int, layers: int, memory: int, causal: bool) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden size {hidden} is not a multiple of {heads} attention heads")
        self.heads, self.memory, self.causal = heads, memory, causal
        self.q_layer = Linear(hidden, hidden)
        self.k_layer = Linear(hidden, hidden, bias=False)
        self.v_layer = Linear(hidden, hidden, bias=False)
        self.proj_layer = Linear(hidden, hidden)
        self.r_layer = Linear(hidden, heads * BASIS)
        reach = memory if causal else max(2 * memory - 1, 0)
        self.b_nd = nn.Parameter(torch.randn(BASIS, reach) * 0.2)
        for linear, scale in (
            (self.q_layer, 0.1),
            (self.k_layer, 0.2),
            (self.v_layer, depth_scale(layers)),
            (self.proj_layer, depth_scale(layers)),
            (self.r_layer, 0.1),
        ):
            _rows(linear.weight, scale)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def _relative_bias(self, x_BTD: Tensor, keys: int) -> Tensor | None:
        """Logits (B, H, T, S) from the distance between query and key in frames, 0 beyond the memory's reach."""
        reach = self.b_nd.shape[1]
        if reach == 0:
            return None
        batch, frames, _ = x_BTD.shape
        r_BTHN = self.r_layer(x_BTD).view(batch, frames, self.heads, BASIS)
        per_distance = torch.matmul(r_BTHN.transpose(1, 2), self.b_nd)
        index_TS, inside_TS = _distances(frames, keys, reach, 0 if self.causal else self.memory - 1, x_BTD.device)
        gathered = per_distance.gather(3, index_TS.expand(batch, self.heads, frames, keys))
        return gathered * inside_TS

    def forward(self, x_BTD: Tensor, mask_BTS: Tensor | None = None, past: KeysValues | None = None) -> Attended:
        """Attend over what is remembered and the frames at hand.

        mask_BTS: added to the logits, 0 where a query frame may see a key frame and BLOCKED elsewhere; None blocks nothing.
        past: keys and values (B, S - T, D) of earlier frames, which come first among the S.
        """
        batch, frames, hidden = x_BTD.shape
        head = hidden // self.heads

        def split(y: Tensor) -> Tensor:
            return y.view(batch, -1, self.heads, head).transpose(1, 2)

        k_BSD, v_BSD = self.k_layer(x_BTD), self.v_layer(x_BTD)
        if past is not None:
            k_BSD, v_BSD = torch.cat([past[0], k_BSD], 1), torch.cat([past[1], v_BSD], 1)
        q_BHTE, k_BHSE, v_BHSE = split(self.q_layer(x_BTD)), split(k_BSD), split(v_BSD)
        bias = self._relative_bias(x_BTD, k_BHSE.shape[2])
        if mask_BTS is not None:
            bias = mask_BTS[:, None] if bias is None else bias + mask_BTS[:, None]
        y_BHTE = _attend(q_BHTE, k_BHSE, v_BHSE, bias)
        out = self.proj_layer(y_BHTE.transpose(1, 2).reshape(batch, frames, hidden))
        return Attended(out, (k_BSD, v_BSD))


def _attend(q_BHTE: Tensor, k_BHSE: Tensor, v_BHSE: Tensor, bias: Tensor | None) -> Tensor:
    """muP: logits are divided by the head size, not by its square root."""
    scale = 1.0 / q_BHTE.shape[3]
    if q_BHTE.shape[2] > 1 or bias is None:
        return F.scaled_dot_product_attention(q_BHTE, k_BHSE, v_BHSE, attn_mask=bias, scale=scale)
    # One frame at a time, as agents act: too little for a matrix product to be worth its preparations.
    wide = torch.promote_types(q_BHTE.dtype, torch.float32)
    keys, values = (
        k_BHSE.transpose(1, 2).to(wide),
        v_BHSE.transpose(1, 2).to(wide),
    )  # (B, S, H, E), as they lie in memory
    logits_BSH = (keys * (q_BHTE.transpose(1, 2) * scale)).sum(-1) + bias[:, :, 0].transpose(1, 2)
    return (torch.softmax(logits_BSH, 1)[..., None] * values).sum(1)[:, :, None].to(q_BHTE.dtype)
