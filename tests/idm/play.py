"""Made-up recordings for tests: a textured world that turns by the recorded camera, and a lamp that a key lights."""

from __future__ import annotations

import cv2
import numpy as np

from data.actions import BUTTON_INDEX, ActionTrack
from data.frame_inputs import FrameInputs, InputMaker
from idm.cache import CachedRecording
from idm.config import IDMConfig

PIXELS_A_DEGREE = 2


def turning_world(frames: int, seed: int, size: tuple[int, int] = (72, 128)) -> tuple[list[np.ndarray], ActionTrack]:
    """Frames uint8 (H, W, 3) and the actions that made them: frame n + 1 shows what action n did."""
    rng = np.random.default_rng(seed)
    world = cv2.GaussianBlur(rng.integers(0, 256, (400, 600, 3), dtype=np.uint8), (7, 7), 0)
    camera = (rng.integers(-2, 3, (frames, 2)) * np.array([1, 1])).astype(np.float32)
    camera[rng.random(frames) < 0.3] = 0
    attack = np.repeat(rng.random(frames // 8 + 1) < 0.4, 8)[:frames]
    buttons = np.zeros((frames, len(BUTTON_INDEX)), bool)
    buttons[:, BUTTON_INDEX["attack"]] = attack
    y, x, pictures = 150, 200, []
    for n in range(frames):
        picture = np.take(
            np.take(world, range(y, y + size[0]), 0, mode="wrap"), range(x, x + size[1]), 1, mode="wrap"
        ).copy()
        if n and attack[n - 1]:
            picture[50:70, 90:120] = 255
        pictures.append(picture)
        y, x = y + int(camera[n, 0]) * PIXELS_A_DEGREE, x + int(camera[n, 1]) * PIXELS_A_DEGREE
    return pictures, ActionTrack(buttons, camera)


def recording(config: IDMConfig, frames: int, seed: int, player: str = "tester") -> CachedRecording:
    pictures, actions = turning_world(frames, seed)
    return CachedRecording(
        f"made-up-{seed}", player, FrameInputs.join(list(InputMaker(config.inputs).stream(pictures))), actions,
        np.zeros(frames, np.int8),
    )  # fmt: skip
