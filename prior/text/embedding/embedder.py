"""What every embedding of clips and texts offers, and the code that they share around their networks.

An embedder is cut in two, as the models of this project are: ``frame_features``, nearly all of the work, looks at a frame (and
perhaps the one before); ``pool`` makes an embedding of the features of a window. Windows that slide over a video then cost a
pooling each: MineCLIP's published code computes every frame 16 times, once for each window that it is in.

Shape suffixes: T frames, N windows or texts, L frames of a window, F size of a frame's features, D size of an embedding,
C tokens of a text. Embeddings are float32 of length 1, so that a similarity is a product; only those that STEVE-1's published
weights want (``steve1:PATH``) are as long as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data.frame_inputs import FrameInputs, InputShape

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Embedder(Protocol):
    """name: how it was asked for. key: tells spaces apart: embeddings of different keys must not be compared. feature_key:
    tells apart what makes features of frames, which several spaces may have in common.
    dims: D; feature_dims: F; shape: how it wants its frames; window: L, the frames of a clip. normalised: embeddings are of
    length 1."""

    name: str
    key: str
    feature_key: str
    dims: int
    feature_dims: int
    shape: InputShape
    window: int
    normalised: bool

    def frame_features(self, frames: Frames, before: Frames | None = None) -> Floats:
        """RGB frames uint8 (T, H, W, 3) of any size -> (T, F). before: the frame (H, W, 3) that they follow, if any."""

    def features_of(self, inputs: FrameInputs, start: int, end: int, mirrored: bool = False) -> Floats:
        """The same of the frames from ``start`` to ``end`` of a video's inputs. mirrored: as if left were right."""

    def pool(self, windows: Floats) -> Floats:
        """Features of windows (N, L, F) -> embeddings (N, D). What was before a window leaves no trace in its embedding."""

    def encode_video(self, frames: Frames) -> Floats:
        """A clip (L, H, W, 3) -> (D,), or several (N, L, H, W, 3) -> (N, D)."""

    def encode_text(self, texts: Sequence[str]) -> Floats:
        """-> (N, D). Raises ValueError for a text of nothing."""


class Towers(Protocol):
    """A network of this kind; parameters on one device. Nothing that it gives is normalised yet."""

    def features(self, images: Tensor) -> Tensor:
        """float (T, 3, H, W), or (T, 6, H, W) where the change since the frame before is seen too -> (T, F)."""

    def pooled(self, features: Tensor) -> Tensor:
        """(N, L, F) -> (N, D)."""

    def texts(self, tokens: Tensor) -> Tensor:
        """int64 (N, C) -> (N, D)."""


class TorchEmbedder:
    """An :class:`Embedder` of a network. mean, std: of the colours, in 0 to 1. sees_change: the network reads six channels.

    longest: of a window, None: any. normalised: embeddings are brought to length 1. block: so many frames or windows at a time.
    """

    def __init__(
        self,
        name: str,
        key: str,
        towers: Towers,
        tokens: Callable[[Sequence[str]], Tensor],
        shape: InputShape,
        dims: tuple[int, int],
        window: int = 16,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        sees_change: bool = False,
        longest: int | None = None,
        normalised: bool = True,
        device: str = "cpu",
        block: int = 32,
    ) -> None:
        self.name, self.key, self.towers, self.tokens, self.shape = name, key, towers, tokens, shape
        self.feature_key = key
        (self.feature_dims, self.dims), self.window, self.longest = dims, window, longest
        self.sees_change, self.normalised, self.device, self.block = sees_change, normalised, device, block
        self._mean, self._std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (mean, std))

    @torch.inference_mode()
    def frame_features(self, frames: Frames, before: Frames | None = None) -> Floats:
        """See :class:`Embedder`. Raises ValueError for anything but RGB frames."""
        self.check_frames(frames)
        out = np.empty((len(frames), self.feature_dims), np.float32)
        for start in range(0, len(frames), self.block):
            part = frames[start : start + self.block]
            if self.sees_change:
                first = frames[start - 1] if start else (frames[0] if before is None else before)
                part = np.concatenate([first[None], part])
            images = colours(scaled(part, self.shape), self._mean, self._std)
            if self.sees_change:
                images = with_change(images[1:], images[:-1])
            out[start : start + self.block] = self.towers.features(images).cpu().numpy()
        return out

    def features_of(self, inputs: FrameInputs, start: int, end: int, mirrored: bool = False) -> Floats:
        """See :class:`Embedder`."""
        frames = inputs.images[max(start - 1, 0) : end]
        if mirrored:
            frames = frames[:, :, ::-1]
        return self.frame_features(frames[1:], frames[0]) if start else self.frame_features(frames)

    @staticmethod
    def check_frames(frames: Frames) -> None:
        """Raises ValueError for anything but RGB frames."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"expected frames as uint8 (T, height, width, 3), RGB, got {frames.dtype} {frames.shape}")

    @torch.inference_mode()
    def pool(self, windows: Floats) -> Floats:
        """See :class:`Embedder`. Raises ValueError for features of another embedder, and for windows that are too long."""
        if windows.ndim != 3 or windows.shape[2] != self.feature_dims or not windows.shape[1]:
            raise ValueError(
                f"{self.name}: expected features of windows (N, L, {self.feature_dims}), got {windows.shape}; are they those "
                "of another embedder?"
            )
        if self.longest is not None and windows.shape[1] > self.longest:
            raise ValueError(f"{self.name}: windows have at most {self.longest} frames, got {windows.shape[1]}")
        out = np.empty((len(windows), self.dims), np.float32)
        for start in range(0, len(windows), 8 * self.block):
            part = torch.from_numpy(np.ascontiguousarray(windows[start : start + 8 * self.block])).to(self.device)
            out[start : start + 8 * self.block] = self._finished(self.towers.pooled(part))
        return out

    def _finished(self, embeddings: Tensor) -> Floats:
        made: Floats = (F.normalize(embeddings, dim=-1) if self.normalised else embeddings).cpu().numpy()
        return made

    def encode_video(self, frames: Frames) -> Floats:
        """See :class:`Embedder`."""
        if frames.ndim == 4:
            alone: Floats = self.encode_video(frames[None])[0]
            return alone
        if frames.ndim != 5:
            raise ValueError(f"expected a clip (L, height, width, 3) or several, got an array of shape {frames.shape}")
        return self.pool(np.stack([self.frame_features(clip) for clip in frames]))

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Floats:
        """See :class:`Embedder`."""
        check_prompts(texts)
        rows = [
            self._finished(self.towers.texts(self.tokens(texts[i : i + self.block]).to(self.device)))
            for i in range(0, len(texts), self.block)
        ]
        return np.concatenate(rows)


def check_prompts(texts: Sequence[str]) -> None:
    """Raises ValueError for texts that ask for nothing, and for one text where several are expected."""
    if isinstance(texts, str):
        raise ValueError(f"expected a list of texts, got one text, {texts[:40]!r}; give [text]")
    if not texts:
        raise ValueError("expected at least one text, got none")
    for place, text in enumerate(texts):
        if not text.strip():
            raise ValueError(
                f"text {place} of {len(texts)} is empty; say what is to be done, such as 'chop down a tree'"
            )


def check_same_space(one: str, other: str, what: str) -> None:
    """Raises ValueError where two keys differ: what comes of different weights cannot be compared."""
    if one != other:
        raise ValueError(
            f"{what}: made with the embedder {other[:80]}, to be used with {one[:80]}; embed it again, or give the embedder "
            "that it was made with"
        )


def scaled(frames: Frames, shape: InputShape) -> Frames:
    """Frames (T, H, W, 3) at the size that an embedder wants."""
    if frames.shape[1:3] == shape.image_size:
        return frames
    how = cv2.INTER_AREA if shape.resize == "area" else cv2.INTER_LINEAR
    small = [cv2.resize(np.ascontiguousarray(frame), shape.image_size[::-1], interpolation=how) for frame in frames]
    return np.stack(small).astype(np.uint8)


def colours(frames: Frames, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (..., H, W, 3) -> float (..., 3, H, W), of mean 0 and deviation 1 over the training's pictures."""
    images = torch.from_numpy(np.ascontiguousarray(frames)).to(mean.device).movedim(-1, -3)
    return (images.float() / 255 - mean) / std


def with_change(images: Tensor, before: Tensor) -> Tensor:
    """Pictures and how each differs from the one before, (..., 3, H, W) -> (..., 6, H, W)."""
    return torch.cat([images, images - before], -3)
