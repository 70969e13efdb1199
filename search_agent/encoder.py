"""What situations are compared in: the latents of a behavioural prior, frame after frame as it remembers them.

ZIP (Malato et al. 2022, arXiv 2212.13326) compares the latents that VPT's action heads see. They tell what the policy would
want to know of a situation, and something of how it came about: each depends on the frames that the policy remembers.

A small policy's latents tell more of what is being done than of what is seen. For motion stems, what the stem makes of the
picture alone, without motion and memory, can stand beside them.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from data.augment import mirror_views
from data.files import sha256_file
from data.frame_inputs import Eye, InputShape, Views
from prior.checkpoint import from_pretrained
from prior.episodes import Inputs
from prior.locate import find_model
from prior.nn.memory import Memory


class Stream(Protocol):
    """One episode being seen."""

    def look(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A frame of any size, uint8 (H, W, 3) -> its latent (D,)."""


class Encoder(Protocol):
    """source: what to load it from; sha256: of its weights; dims: D of its latents; shape: how it wants its frames."""

    source: str
    sha256: str
    dims: int
    shape: InputShape

    def encode(self, inputs: Inputs, rows: NDArray[np.int64], mirror: bool = False) -> NDArray[np.float16]:
        """Frames of one episode, from its beginning -> (T, D). mirror: of the mirrored pictures."""

    def stream(self) -> Stream:
        """An episode begins."""


class PolicyEncoder:
    """The latents of a policy: a folder of `vpt train-prior`, or a published .model with its .weights.

    seen: with the features of the picture alone beside them, both at one scale; None: where the policy has a motion stem.
    Raises ValueError where these are asked for of another stem.
    """

    def __init__(self, source: str, device: str = "cpu", seen: bool | None = None) -> None:
        self.source, self.sha256 = source, hash_of(source)
        self.policy = from_pretrained(source, device).for_inference(streams=1)
        moves = self.policy.config.stem == "motion"
        if seen and not moves:
            raise ValueError(f"{source}: its stem sees single pictures anyway; leave what is seen to its latents")
        self.seen = moves if seen is None else seen
        self.dims, self.shape = self.policy.config.hidden * (2 if self.seen else 1), self.policy.config.inputs

    @torch.inference_mode()
    def encode(self, inputs: Inputs, rows: NDArray[np.int64], mirror: bool = False) -> NDArray[np.float16]:
        """See :class:`Encoder`."""
        chunk, memory, out = 256, self.policy.empty_memory(1), []
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            first = np.zeros(len(part), bool)
            first[0] = start == 0
            views = inputs.views(part, first)
            if mirror:
                images, motion = mirror_views(views.images, views.motion)
                views = Views(np.ascontiguousarray(images), motion)
            latents, memory = self.latents(views, memory, torch.from_numpy(first))
            out.append(latents.float().cpu().numpy().astype(np.float16))
        return np.concatenate(out)

    def latents(self, views: Views, memory: Memory, first: torch.Tensor) -> tuple[torch.Tensor, Memory]:
        """T views of one episode -> (T, D), and the memory after them."""
        features = self._features(views.images, views.motion)
        latents, memory = self.policy.latents(features[None], memory, first[None].to(features.device))
        if not self.seen:
            return latents[0], memory
        still = views.still()
        pictures = self._features(still.images, still.motion)
        size = (self.policy.config.hidden,)
        return torch.cat([F.layer_norm(part, size) for part in (latents[0], pictures)], -1), memory

    def _features(self, images: NDArray[np.uint8], motion: NDArray[np.float16]) -> torch.Tensor:
        device = self.policy.device
        return self.policy.frame_features(torch.from_numpy(images).to(device), torch.from_numpy(motion).to(device))

    def stream(self) -> Stream:
        """See :class:`Encoder`."""
        return _PolicyStream(self)


class _PolicyStream:
    def __init__(self, encoder: PolicyEncoder) -> None:
        self._encoder, self._eye = encoder, Eye(encoder.shape)
        self._memory = encoder.policy.empty_memory(1)

    @torch.inference_mode()
    def look(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        latents, self._memory = self._encoder.latents(
            self._eye.look(rgb), self._memory, torch.zeros(1, dtype=torch.bool)
        )
        found: NDArray[np.float32] = latents[0].float().cpu().numpy()
        return found


def hash_of(source: str) -> str:
    """Of a policy's settings and weights: equal for models that make equal latents."""
    digests = [sha256_file(path) for path in find_model(source).all]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()
