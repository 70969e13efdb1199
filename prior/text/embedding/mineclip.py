"""MineCLIP: how well a text tells what happens in sixteen frames of Minecraft, and the space that STEVE-1's goals live in.

Fan et al. 2022, "MineDojo" (arXiv 2206.08853), section 4: CLIP's networks (ViT-B/16, at 160x256), a transformer over a
window's frames or their mean (prior/text/embedding/temporal.py), and a small adapter of videos. The image and text networks
are open_clip's modules; outputs equal the published code's to 1e-4 (tests/parity/mineclip.py).

Two embeddings of a clip exist, both as published: :meth:`MineClip.goals`, before the adapter and of any length, which
STEVE-1's policy and prior take; and the one after it, which is compared with texts, as every :class:`Embedder`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.text.embedding.clip_modules import open_clip
from prior.text.embedding.temporal import TemporalTransformer
from prior.text.embedding.tokens import CONTEXT, VOCABULARY

MEAN, STD = (0.3331, 0.3245, 0.3051), (0.2439, 0.2493, 0.2873)
"""Of Minecraft's colours, not CLIP's: with CLIP's, features differ by 2."""

Pool = Literal["attn", "avg"]


@dataclass(frozen=True)
class MineClipConfig:
    """The published sizes; tests use smaller ones. image_size: (height, width). pool: over a window's frames, the two
    published variants: ``attn``, and ``avg``, which has no parameters."""

    image_size: tuple[int, int] = (160, 256)
    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    vocabulary: int = VOCABULARY
    context: int = CONTEXT
    dims: int = 512
    pool: Pool = "attn"
    temporal_layers: int = 2
    temporal_heads: int = 8
    longest: int = 32


class MineClip(nn.Module):
    """See the module's docstring. Shape suffixes: T frames, N windows or texts, L frames of a window, D dims, C tokens."""

    def __init__(self, config: MineClipConfig | None = None) -> None:
        super().__init__()
        c = self.config = config or MineClipConfig()
        parts = open_clip().transformer
        self.vision = parts.VisionTransformer(
            c.image_size, c.patch, c.width, c.layers, c.heads, 4.0, output_dim=c.dims, act_layer=parts.QuickGELU
        )
        self.text = parts.TextTransformer(
            c.context, c.vocabulary, c.text_width, c.text_heads, c.text_layers, output_dim=c.dims,
            act_layer=parts.QuickGELU,
        )  # fmt: skip
        self.temporal = (
            TemporalTransformer(c.dims, c.temporal_layers, c.temporal_heads, c.longest) if c.pool == "attn" else None
        )
        self.adapter = nn.Sequential(nn.Linear(c.dims, c.dims), nn.ReLU(), nn.Linear(c.dims, c.dims))
        self.video_residual_weight = nn.Parameter(torch.tensor(4.0))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def features(self, images_T3HW: Tensor) -> Tensor:
        """Normalised pictures -> (T, D)."""
        out: Tensor = self.vision(images_T3HW)
        return out

    def goals(self, features_NLD: Tensor) -> Tensor:
        """A window's embedding as STEVE-1 takes it, (N, D)."""
        out: Tensor = features_NLD.mean(1) if self.temporal is None else self.temporal(features_NLD)
        return out

    def adapted(self, goals_ND: Tensor) -> Tensor:
        """The same as texts are compared with."""
        kept = self.video_residual_weight.sigmoid()
        adapted: Tensor = kept * goals_ND + (1 - kept) * self.adapter(goals_ND)
        return adapted

    def pooled(self, features_NLD: Tensor) -> Tensor:
        """-> (N, D)."""
        return self.adapted(self.goals(features_NLD))

    def texts(self, tokens_NC: Tensor) -> Tensor:
        """-> (N, D), of any length: as STEVE-1's prior takes them."""
        out: Tensor = self.text(tokens_NC)
        return out

    def logits(self, videos_ND: Tensor, texts_MD: Tensor) -> Tensor:
        """The published reward's logits of videos, already adapted, over texts: (N, M)."""
        return self.logit_scale.exp() * F.normalize(videos_ND, dim=-1) @ F.normalize(texts_MD, dim=-1).T


def resize_places(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A table of places in the picture (rows * columns, F) for another grid of patches: bicubic, as MineCLIP's was made of
    CLIP's."""
    grid = table.reshape(1, *old, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, new, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).reshape(new[0] * new[1], -1)
