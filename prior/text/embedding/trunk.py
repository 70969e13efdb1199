"""What a behavioural prior sees in single frames, as the eyes of an embedding of clips.

A prior that has learnt to play knows what matters in its game: which tool is in the hand, what the hand points at, how the view
moves. An embedding that looks with its trunk, which stays as it is, learns within minutes what would take a vision transformer
of its own hours. Frames are looked at once, whatever is trained on top.

Shape suffixes: T frames, F size of a frame's features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.augment import mirror_views
from data.frame_inputs import Eye, FrameInputs, Views
from prior.config import PolicyConfig
from prior.policy import frame_stem, stem_features
from prior.text.embedding.embedder import Floats, Frames, TorchEmbedder


class FrozenTrunk(nn.Module):
    """The part of a policy that looks at single frames, or at one and the one before; it learns nothing any more.

    Where it sees motion, what it makes of the picture alone stands beside that, each at one scale.
    """

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = frame_stem(config).requires_grad_(False)

    @staticmethod
    def dims(config: PolicyConfig) -> int:
        """F, of the trunk of such a policy."""
        return config.hidden * (2 if config.stem == "motion" else 1)

    @torch.inference_mode()
    def look(self, views: Views) -> Tensor:
        """-> (T, F)."""
        size, device = (self.config.hidden,), next(self.stem.parameters()).device

        def seen(views: Views) -> Tensor:
            images, motion = (
                torch.from_numpy(np.ascontiguousarray(v)).to(device) for v in (views.images, views.motion)
            )
            return F.layer_norm(stem_features(self.stem, self.config, images, motion).float(), size)

        if self.config.stem != "motion":
            return seen(views)
        return torch.cat([seen(views), seen(views.still())], -1)


class TrunkEmbedder(TorchEmbedder):
    """An embedder that looks with a :class:`FrozenTrunk`: frames are scaled, and flow computed, as for the policy. The other
    arguments are those of :class:`TorchEmbedder`."""

    def __init__(self, trunk: FrozenTrunk, feature_key: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.trunk, self.feature_key = trunk, feature_key

    def frame_features(self, frames: Frames, before: Frames | None = None) -> Floats:
        """See :class:`Embedder`; the first frame, if there is none before, shows no motion."""
        self.check_frames(frames)
        eye = Eye(self.shape)
        if before is not None:
            eye.pass_by(before)
        return np.concatenate([self.trunk.look(eye.look(frame)).cpu().numpy() for frame in frames])

    def features_of(self, inputs: FrameInputs, start: int, end: int, mirrored: bool = False) -> Floats:
        """See :class:`Embedder`."""
        rows = np.arange(start, end)
        views = inputs.views(rows, rows == 0)
        if mirrored:
            views = Views(*mirror_views(views.images, views.motion))
        return self.trunk.look(views).cpu().numpy()
