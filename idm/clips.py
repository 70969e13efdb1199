"""Batches of clips for training: what is drawn depends on (seed, step) alone, so that a resumed run sees what an
unbroken one would have seen.

Augmentation is constant over a clip (:mod:`data.augment`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.actions import HOTBAR_SLOTS
from data.augment import colour_jitter, mirror, tilt
from idm.cache import CachedRecording
from idm.config import IDMConfig


@dataclass(frozen=True)
class Batch:
    """images uint8 (B, T + 2 halo, H, W, 3), motion (B, T + 2 halo, C, h, w), buttons float (B, T, 20), camera degrees
    (B, T, 2), gui (B, T) 1 where a GUI was open, slot int64 (B, T) the hotbar's from 0, weight (B, T): 0 where the record was
    broken or lies outside."""

    images: Tensor
    motion: Tensor
    buttons: Tensor
    camera: Tensor
    gui: Tensor
    slot: Tensor
    weight: Tensor


def _clip(
    recording: CachedRecording, start: int, length: int, halo: int
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Frames start - halo .. start + length + halo, black outside the recording."""
    first, last = start - halo, start + length + halo
    inside = slice(max(first, 0), min(last, len(recording)))
    images = np.zeros((last - first, *recording.inputs.images.shape[1:]), np.uint8)
    motion = np.zeros((last - first, *recording.inputs.motion.shape[1:]), np.float16)
    at = slice(inside.start - first, inside.stop - first)
    images[at], motion[at] = recording.inputs.images[inside], recording.inputs.motion[inside]
    return images, motion


class ClipSampler:
    """Draws clips of ``length`` frames from recordings, each frame equally likely."""

    def __init__(
        self, recordings: list[CachedRecording], config: IDMConfig, batch: int, length: int, seed: int, augment: bool
    ) -> None:
        if not recordings:
            raise ValueError("no recordings to draw clips from")
        self.recordings, self.config, self.batch, self.length = recordings, config, batch, length
        self.seed, self.augment = seed, augment
        frames = np.array([len(r) for r in recordings], float)
        self._share = frames / frames.sum()

    def draw(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        rows = [self._one(rng) for _ in range(self.batch)]
        images, motion, buttons, camera, gui, slot, weight = (np.stack(column) for column in zip(*rows, strict=True))
        return Batch(
            torch.from_numpy(images), torch.from_numpy(motion), torch.from_numpy(buttons.astype(np.float32)),
            torch.from_numpy(camera), torch.from_numpy(gui), torch.from_numpy(slot),
            torch.from_numpy(weight),
        )  # fmt: skip

    def _one(self, rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
        recording = self.recordings[rng.choice(len(self.recordings), p=self._share)]
        start = int(rng.integers(0, max(len(recording) - self.length, 0) + 1))
        images, motion = _clip(recording, start, self.length, self.config.halo)
        here = min(self.length, len(recording) - start)
        buttons, camera = np.zeros((self.length, 20), bool), np.zeros((self.length, 2), np.float32)
        gui, weight = np.zeros(self.length, np.float32), np.zeros(self.length, np.float32)
        slot = np.zeros(self.length, np.int64)
        track, slot[:here] = recording.actions[start : start + here], recording.slots[start : start + here]
        buttons[:here], camera[:here] = track.buttons, track.camera
        gui[:here], weight[:here] = track.gui_open, track.valid
        if self.augment:
            images = colour_jitter(images, rng)
            if self.config.stem == "conv3d":
                images, motion = tilt(images, motion, rng)
            if rng.random() < 0.5:
                images, motion, buttons, camera = mirror(images, motion, buttons, camera)
                slot = HOTBAR_SLOTS - 1 - slot
        return np.ascontiguousarray(images), motion, buttons, camera, gui, slot, weight
