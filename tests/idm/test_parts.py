"""The small parts of the IDM: flow, targets, augmentation, calibration, presets."""

import numpy as np
import pytest
import torch

from data.actions import BUTTON_INDEX, ActionTrack
from data.augment import colour_jitter, mirror, tilt
from data.frame_inputs import InputMaker
from idm.calibration import Calibration, decode_held, fit, sigmoid
from idm.clips import ClipSampler
from idm.config import IDMConfig, preset
from idm.loss import camera_targets, event_weights
from idm.model import QUANTIZER
from tests.idm.play import PIXELS_A_DEGREE, recording, turning_world


def test_flow_grid_measures_the_turn_of_the_same_frame() -> None:
    pictures, actions = turning_world(60, seed=2)
    inputs = next(InputMaker(preset("debug").inputs, threads=2, block=60).stream(pictures))
    flow = np.median(inputs.motion[:, :2].astype(float).reshape(60, 2, -1), axis=2) * 4
    np.testing.assert_allclose(flow[:-1, 0], -PIXELS_A_DEGREE * actions.camera[:-1, 1], atol=0.3)
    np.testing.assert_allclose(flow[:-1, 1], -PIXELS_A_DEGREE * actions.camera[:-1, 0], atol=0.3)
    assert not flow[-1].any()  # nothing follows the last frame


def test_flow_does_not_depend_on_threads_or_blocks() -> None:
    pictures, _ = turning_world(50, seed=5)
    runs = [
        list(InputMaker(preset("debug").inputs, threads, block).stream(pictures))
        for threads, block in ((1, 50), (3, 7))
    ]
    one, many = (np.concatenate([part.motion for part in run]) for run in runs)
    np.testing.assert_array_equal(one, many)


def test_two_bin_targets_keep_the_exact_turn_and_one_bin_targets_are_vpts() -> None:
    degrees = torch.tensor([-30.0, -10, -4.4, -0.2, 0, 0.15, 0.62, 3, 7, 10, 12])
    soft = camera_targets(degrees, "two_bins")
    centres = torch.tensor(QUANTIZER.centres, dtype=torch.float32)
    torch.testing.assert_close(soft @ centres, degrees.clamp(-10, 10), atol=1e-5, rtol=0)
    torch.testing.assert_close(soft.sum(-1), torch.ones(11))
    hard = camera_targets(degrees, "bin")
    assert hard.argmax(-1).tolist() == QUANTIZER.discretize(degrees.numpy()).tolist()


def test_event_weights_are_high_beside_changes_only() -> None:
    buttons = torch.zeros(1, 8, 20)
    buttons[0, 4:, 0] = 1
    weights = event_weights(buttons, 3.0)
    assert weights[0, :, 0].tolist() == [1, 1, 1, 3, 3, 3, 1, 1]
    assert (weights[0, :, 1] == 1).all()


def test_mirroring_turns_yaw_and_sides_and_is_its_own_inverse() -> None:
    config = preset("debug")
    clip = recording(config, 30, seed=6)
    buttons = clip.actions.buttons.copy()
    buttons[:10, BUTTON_INDEX["left"]] = True
    buttons[5:9, BUTTON_INDEX["hotbar.1"]] = True
    start = (np.asarray(clip.inputs.images), np.asarray(clip.inputs.motion), buttons, clip.actions.camera)
    images, motion, pressed, camera = mirror(*start)
    assert pressed[:10, BUTTON_INDEX["right"]].all()
    assert not pressed[:, BUTTON_INDEX["left"]].any()
    assert pressed[5:9, BUTTON_INDEX["hotbar.9"]].all()
    np.testing.assert_array_equal(camera, clip.actions.camera * [1, -1])
    np.testing.assert_array_equal(images, start[0][:, :, ::-1])
    for ours, theirs in zip(mirror(images, motion, pressed, camera), start, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_mirrored_flow_is_the_flow_of_the_mirrored_video() -> None:
    config = preset("debug")
    pictures, _ = turning_world(30, seed=7)
    straight = next(InputMaker(config.inputs, block=30).stream(pictures)).motion.astype(float)
    flipped = next(InputMaker(config.inputs, block=30).stream([p[:, ::-1].copy() for p in pictures])).motion.astype(
        float
    )
    guess = straight[..., ::-1] * np.array([-1, 1, 1, 1, 1, 1, 1])[:, None, None]
    assert np.corrcoef(guess[:, 0].ravel(), flipped[:, 0].ravel())[0, 1] > 0.97


def test_tilted_flow_is_the_flow_of_the_tilted_video() -> None:
    config = preset("debug")
    pictures, _ = turning_world(30, seed=7)
    none = np.zeros((30, 0, 1, 1), np.float16)
    for seed in range(3):
        tilted, _ = tilt(np.stack(pictures), none, np.random.default_rng(seed), degrees=25)
        straight = next(InputMaker(config.inputs, block=30).stream(pictures))
        seen = next(InputMaker(config.inputs, block=30).stream(list(tilted))).motion.astype(float)
        _, guess = tilt(straight.images, straight.motion, np.random.default_rng(seed), degrees=25)
        inner = (slice(None), slice(0, 2), slice(2, -2), slice(2, -2))
        error = np.abs(guess[inner] - seen[inner]).mean()
        assert error < 0.5 * np.abs(straight.motion[inner] - seen[inner]).mean()
        assert np.abs(tilted[:, 20:40, 20:40].astype(int) - np.stack(pictures)[:, 20:40, 20:40]).mean() > 1


def test_tilting_is_constant_over_a_clip_and_small() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8).repeat(3, 0)
    out, motion = tilt(images, np.zeros((3, 0, 1, 1), np.float16), np.random.default_rng(1))
    assert (out == out[0]).all() and (out != images).any() and motion.shape == (3, 0, 1, 1)
    dot = np.zeros((1, 128, 128, 3), np.uint8)
    dot[0, 63:65, 63:65] = 255
    for seed in range(20):  # the middle moves by the shift alone: 2 pixels at most
        moved, _ = tilt(dot, motion, np.random.default_rng(seed))
        rows, columns = np.nonzero(moved[0, ..., 0] > 60)
        assert np.abs([rows.mean() - 63.5, columns.mean() - 63.5]).max() < 2.6


def test_colour_changes_are_constant_over_a_clip_and_seeded() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    images[1:] = images[0]
    out = colour_jitter(images, np.random.default_rng(1))
    assert (out == out[0]).all()
    assert (out != images).any()
    np.testing.assert_array_equal(out, colour_jitter(images, np.random.default_rng(1)))


def test_a_step_draws_the_same_clips_whenever_it_is_drawn() -> None:
    config = preset("debug")
    sampler = ClipSampler([recording(config, 40, seed=8)], config, 3, 16, seed=1, augment=True)
    first, _, again = sampler.draw(5), sampler.draw(6), sampler.draw(5)
    torch.testing.assert_close(first.images, again.images)
    torch.testing.assert_close(first.camera, again.camera)
    assert not torch.equal(first.images, sampler.draw(6).images)


def test_clips_longer_than_the_recording_are_padded_without_weight() -> None:
    config = preset("debug")
    batch = ClipSampler([recording(config, 10, seed=8)], config, 1, 16, seed=1, augment=False).draw(0)
    assert batch.weight[0].tolist() == [1] * 10 + [0] * 6


def test_decoding_removes_flicker_but_keeps_presses() -> None:
    p = np.full((40, 1), 0.05)
    p[10:20] = 0.95
    p[15] = 0.4
    p[30] = 0.55
    assert decode_held(p, np.array([0.0]))[:, 0].sum() == 10
    held = decode_held(p, np.array([2.0]))[:, 0]
    assert np.flatnonzero(held).tolist() == list(range(10, 20))


def test_calibration_straightens_overconfident_odds() -> None:
    rng = np.random.default_rng(0)
    true_odds = rng.normal(size=(6000, 20))
    held = rng.random((6000, 20)) < sigmoid(true_odds)
    logits = rng.normal(size=(6000, 2, QUANTIZER.bins))
    logprobs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    drawn = (logprobs.cumsum(-1) * 0 + logprobs + rng.gumbel(size=logprobs.shape)).argmax(-1)
    track = ActionTrack(held, QUANTIZER.undiscretize(drawn).astype(np.float32))
    sharp = 2 * logprobs - np.logaddexp.reduce(2 * logprobs, axis=-1, keepdims=True)
    fitted = fit(3 * true_odds + 1, sharp, track)
    np.testing.assert_allclose(fitted.probabilities(3 * true_odds + 1), sigmoid(true_odds), atol=0.05)
    assert fitted.camera_temperature == pytest.approx((2, 2), rel=0.12)
    assert Calibration.from_dict(fitted.to_dict()) == fitted


def test_wrong_names_are_answered_with_the_nearest_right_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'luanti_small'"):
        preset("luanti_smal")
    with pytest.raises(ValueError, match="unknown settings \\['hiden'\\]"):
        IDMConfig.from_dict({"hiden": 3})
