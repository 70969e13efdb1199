"""Augmentation of training clips, each constant over a clip (VPT, arXiv 2206.11795, appendix D.1).

Colour and mirroring cost little and serve every stem. Tilting (small turns, scales, shears and shifts of the picture) is VPT's
recipe for its stem, which sees pixels alone.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from data.actions import BUTTON_INDEX, MIRRORED_BUTTONS, ActionTrack
from data.joint_actions import BUTTON_CHOICES, JointActions

_MIRROR = np.arange(len(BUTTON_INDEX))
for _left, _right in MIRRORED_BUTTONS:
    _MIRROR[BUTTON_INDEX[_left]], _MIRROR[BUTTON_INDEX[_right]] = BUTTON_INDEX[_right], BUTTON_INDEX[_left]
_HOTBAR = np.array([name.startswith("hotbar") for name in BUTTON_INDEX])
_ACTING = np.where(_HOTBAR, np.arange(len(BUTTON_INDEX)), _MIRROR)


def colour_jitter(images: NDArray[np.uint8], rng: np.random.Generator, strength: float = 0.2) -> NDArray[np.uint8]:
    """One change of brightness, contrast, saturation and hue for a whole clip, uint8 (T, H, W, 3) -> the same.

    All four are linear in colour, so they are one 3x3 matrix and an offset. Hue turns about the grey axis.
    """
    brightness, contrast, saturation = 1 + rng.uniform(-strength, strength, 3)
    angle = rng.uniform(-strength, strength) * np.pi / 2
    axis = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    hue = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * axis
    luma = np.tile([0.299, 0.587, 0.114], (3, 1))
    matrix = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * luma) @ hue
    offset = 127 * brightness * (1 - contrast)
    flat = images.reshape(-1, images.shape[2], 3)
    out = cv2.transform(flat, np.concatenate([matrix, np.full((3, 1), offset)], 1).astype(np.float32))
    jittered: NDArray[np.uint8] = out.reshape(images.shape)
    return jittered


def shift(images: NDArray[np.uint8], rng: np.random.Generator, pixels: int = 2) -> NDArray[np.uint8]:
    """A whole clip moved by up to so many pixels each way, uint8 (T, H, W, C) -> the same; the outermost pixels repeat.

    Kostrikov et al. 2020, "Image Augmentation Is All You Need" (arXiv 2004.13649), section 3.
    """
    down, right = (int(value) for value in rng.integers(-pixels, pixels + 1, 2))
    height, width = images.shape[1:3]
    source = images[:, np.clip(np.arange(height) + down, 0, height - 1)]
    moved = np.empty_like(images)
    begin, end = max(0, -right), min(width, width - right)  # by slices: choosing single columns takes far longer
    moved[:, :, begin:end] = source[:, :, begin + right : end + right]
    moved[:, :, :begin], moved[:, :, end:] = moved[:, :, begin : begin + 1], moved[:, :, end - 1 : end]
    return moved


def mirror(
    images: NDArray[np.uint8], motion: NDArray[np.float16], buttons: NDArray[np.bool_], camera: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.bool_], NDArray[np.float32]]:
    """The clip as a left-handed player would have recorded it."""
    return (*mirror_views(images, motion), buttons[:, _MIRROR], camera * np.array([1, -1], np.float32))


def mirror_views(
    images: NDArray[np.uint8], motion: NDArray[np.float16]
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """What :func:`mirror` makes of the pictures, uint8 (T, H, W, C), and of the flow grids (T, C, h, w)."""
    motion = motion[..., ::-1].copy()
    if motion.shape[1]:
        motion[:, 0] *= -1  # the flow's x
    return images[:, :, ::-1], motion


def mirror_joint(buttons: NDArray[np.int64], camera: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Joint numbers (T,) for mirrored pictures of one who is to act: as :func:`mirror`, but each hotbar key stays. It
    brings the same thing to the hand as ever; only to those who tell keys from video it is the mirrored slot's."""
    table, bins = _mirrored_buttons(), JointActions().quantizer.bins
    pitch, yaw = np.divmod(camera, bins)
    return table[buttons], pitch * bins + (bins - 1 - yaw)


def mirror_track(track: ActionTrack) -> ActionTrack:
    """What one does who is to act in mirrored pictures, as :func:`mirror_joint` has it."""
    return ActionTrack(track.buttons[:, _ACTING], track.camera * np.array([1, -1], np.float32), track.gui_open)


@cache
def _mirrored_buttons() -> NDArray[np.int64]:
    """int64 (8641,): of each joint number of buttons the one of its mirror image."""
    joint = JointActions()
    bins = np.full((BUTTON_CHOICES, 2), joint.quantizer.null_bin)
    bins[~joint.camera_off_table] += 1  # whether there is a turn is part of the number
    table: NDArray[np.int64] = joint.from_factored(joint.button_table[:, _ACTING], bins)[0]
    return table


def tilt(
    images: NDArray[np.uint8],
    motion: NDArray[np.float16],
    rng: np.random.Generator,
    degrees: float = 2.0,
    scale: float = 0.02,
    pixels: float = 2.0,
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Turn, scale, shear and shift a clip a little: each within VPT's +-2 degrees, +-2 %, +-2 degrees, +-2 pixels of 128.

    images: uint8 (T, H, W, 3). motion: float16 (T, C, h, w), C = 0 for models without flow; otherwise its first two channels
    are vectors, which turn with the picture. What comes in at the edges repeats the outermost pixels.
    """
    turn, slant = np.radians(rng.uniform(-degrees, degrees, 2))
    size = 1 + rng.uniform(-scale, scale)
    shift = rng.uniform(-pixels, pixels, 2) / 128  # in widths and heights of the picture
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = size * rotation @ np.array([[1.0, np.tan(slant)], [0.0, 1.0]])

    def warp(picture: NDArray[np.generic]) -> NDArray[np.generic]:
        height, width = picture.shape[:2]
        centre = np.array([width - 1, height - 1]) / 2
        offset = centre - linear @ centre + shift * [width, height]
        matrix = np.concatenate([linear, offset[:, None]], 1)
        out: NDArray[np.generic] = cv2.warpAffine(
            picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return out

    tilted = np.stack([warp(image) for image in images]).astype(np.uint8)
    if not motion.shape[1]:
        return tilted, motion
    grids = motion.astype(np.float32).transpose(0, 2, 3, 1)
    moved = np.stack([warp(np.ascontiguousarray(grid)) for grid in grids]).astype(np.float32)
    moved[..., :2] = moved[..., :2] @ linear.T
    return tilted, moved.transpose(0, 3, 1, 2).astype(np.float16)
