"""MineCLIP's transformer over a window's frames, and the mean of what it says of each.

Fan et al. 2022, "MineDojo" (arXiv 2206.08853); the published model names it ``attn.d2.nh8.glusw``: pre-norm
layers, eight heads, no bias in attention, gated feed-forward parts (SwiGLU: Shazeer 2020, arXiv 2002.05202), learned places,
no causal mask.

Shape suffixes: N windows, L frames, F features, H heads, E size of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TemporalLayer(nn.Module):
    """Attention, then a gated feed-forward part, each added to what it was given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.feed_in, self.feed_out = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x_NLF: Tensor) -> Tensor:
        seen = self.attention_norm(x_NLF)
        q, k, v = (to(seen).unflatten(-1, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v))
        mixed_NHLE = F.scaled_dot_product_attention(q, k, v)
        x_NLF = x_NLF + self.to_out(mixed_NHLE.transpose(1, 2).flatten(2))
        values, gates = self.feed_in(self.feed_norm(x_NLF)).chunk(2, -1)
        result: Tensor = x_NLF + self.feed_out(values * F.silu(gates))
        return result


class TemporalTransformer(nn.Module):
    """longest: places that it has learned; windows may be shorter."""

    def __init__(self, width: int = 512, layers: int = 2, heads: int = 8, longest: int = 32) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(longest, width))
        self.layers = nn.ModuleList(TemporalLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features_NLF: Tensor) -> Tensor:
        """-> (N, F)."""
        length, width = features_NLF.shape[1:]
        x = features_NLF + self.places[:length] * width**-0.5
        for layer in self.layers:
            x = layer(x)
        mean: Tensor = self.norm(x).mean(1)
        return mean
