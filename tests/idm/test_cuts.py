"""Cuts are found on their frame, turns and menus are not taken for one, and blocks do not matter."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from idm.cuts import RUN_IN, CutDetector

Clip = NDArray[np.uint8]
CUTS = [30, 60, 64, 100]


def scene(seed: int, frames: int, *, speed: int = 1, size: tuple[int, int] = (72, 128)) -> Clip:
    """A camera that pans over a world of one tint: sky above, blocks below."""
    rng = np.random.default_rng(seed)
    sky, tint = rng.integers(30, 220, 3), rng.integers(30, 220, 3)
    blocks = np.clip(tint + rng.integers(-50, 50, (12, 90, 1)), 0, 255).repeat(8, 0).repeat(16, 1)
    world = np.concatenate([np.broadcast_to(sky, (16 + 8 * (seed % 3), blocks.shape[1], 3)), blocks])
    height, width = size
    at = [n * speed % (world.shape[1] - width) for n in range(frames)]
    return np.stack([world[:height, x : x + width] for x in at]).astype(np.uint8)


def joined() -> Clip:
    """Scenes that begin at CUTS; the detector must also see one that lasts four frames."""
    lengths = np.diff([0, *CUTS, 130])
    return np.concatenate([scene(seed, int(length)) for seed, length in enumerate(lengths)])


def test_cuts_are_found_on_their_frame_and_nothing_else_is() -> None:
    for size in ((72, 128), (128, 128), (32, 32)):
        clip = np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in joined()])
        found = np.flatnonzero(CutDetector().feed(clip))
        assert set(CUTS) - {64} <= set(found.tolist()) <= set(CUTS), size
    assert not CutDetector().feed(scene(0, 1)).any() and not CutDetector().feed(scene(0, 40)).any()


def test_answers_do_not_depend_on_how_frames_are_cut_into_blocks() -> None:
    clip = joined()
    clip[::2] += np.random.default_rng(0).integers(0, 9, clip[::2].shape, dtype=np.uint8)
    whole = CutDetector().scores(clip)
    rng = np.random.default_rng(1)
    for _ in range(5):
        detector, ends = CutDetector(), np.sort(rng.integers(0, len(clip), 12))
        pieces = [detector.scores(piece) for piece in np.split(clip, ends)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("begin", [RUN_IN, 28, 63, 66, 108])
def test_it_can_begin_in_the_middle_after_a_run_in(begin: int) -> None:
    clip = joined()
    whole = CutDetector().scores(clip)
    detector = CutDetector()
    detector.feed(clip[begin - RUN_IN : begin])
    np.testing.assert_array_equal(detector.scores(clip[begin:]), whole[begin:])
    short = CutDetector()
    short.feed(clip[begin - RUN_IN + 1 : begin])
    if begin == 108:  # the cut at 100 is only just among the frames that count: one frame less, and another answer
        assert (short.scores(clip[begin:]) != whole[begin:]).any()


def test_a_fast_turn_a_menu_and_a_fade_are_no_cuts() -> None:
    turn = np.concatenate([scene(1, 20), scene(1, 40, speed=24)])
    menu = scene(2, 60)
    menu[20:40] = menu[20:40] // 3
    menu[20:40, 15:60, 36:92] = 70
    fade = (scene(3, 60) * np.clip(np.arange(60) / 20, 0, 1)[:, None, None, None]).astype(np.uint8)
    for clip in (turn, menu, fade):
        assert not CutDetector().feed(clip).any()
    # The same changes of colour all at once are one.
    assert CutDetector().feed(np.concatenate([menu[:20], scene(3, 3)]))[20]


def test_other_arrays_are_refused() -> None:
    for wrong in (np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32)):
        with pytest.raises(ValueError, match=r"expected RGB frames, uint8 \(T, H, W, 3\)"):
            CutDetector().feed(wrong)  # type: ignore[arg-type]
    assert CutDetector().feed(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0,)
