"""The action space: dictionaries, tracks, and the camera's bins as published."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.actions import BUTTONS, ENV_BUTTONS, Action, ActionTrack, CameraQuantizer

GOLDEN = Path(__file__).parents[3] / "shared/golden/vpt/actions.npz"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="optional reference outputs are not here")


def test_actions_and_env_dictionaries_are_inverse() -> None:
    action = Action(frozenset({"ESC", "forward", "hotbar.9"}), (1.5, -2.25))
    env = action.to_env()
    assert set(env) == {*ENV_BUTTONS, "camera"} and len(env) == 24
    assert env["forward"] == 1 and env["back"] == 0 and env["camera"].dtype == np.float32
    assert Action.from_env(env) == action
    assert Action.from_env({"jump": np.array([1])}) == Action(frozenset({"jump"}))
    with pytest.raises(ValueError, match="unknown buttons \\['fly'\\]"):
        Action(frozenset({"fly"}))


def test_a_track_holds_its_actions_and_slices() -> None:
    actions = [Action(frozenset({name}), (0.5 * n, -n)) for n, name in enumerate(BUTTONS)] + [Action()]
    track = ActionTrack.from_actions(actions, gui_open=[n == 2 for n in range(21)])
    assert [track.action(n) for n in range(21)] == actions and len(track) == 21
    assert track.is_null.tolist() == [False] * 20 + [True]
    part = track[2:5]
    assert len(part) == 3 and part.gui_open.tolist() == [True, False, False] and part.valid.all()
    with pytest.raises(ValueError, match=r"ActionTrack.camera has shape \(3, 3\), expected \(4, 2\)"):
        ActionTrack(np.zeros((4, 20), bool), np.zeros((3, 3), np.float32))


def test_bins_are_symmetric_and_centres_return_to_their_bins() -> None:
    quantizer = CameraQuantizer()
    assert quantizer.bins == 11 and quantizer.null_bin == 5
    np.testing.assert_array_equal(quantizer.discretize(quantizer.centres), np.arange(11))
    np.testing.assert_allclose(quantizer.centres, -quantizer.centres[::-1])
    np.testing.assert_allclose(quantizer.centres[5:], [0, 0.61539427, 1.60949864, 3.21536913, 5.80948313, 10])
    assert quantizer.discretize(np.array([-180.0, 180.0, 0.27, 0.28])).tolist() == [0, 10, 5, 6]


@needs_golden
def test_the_quantizer_equals_the_published_one_everywhere_it_was_recorded() -> None:
    golden = np.load(GOLDEN)
    quantizer = CameraQuantizer()
    np.testing.assert_array_equal(quantizer.discretize(golden["quant_in"]), golden["quant_bin"])
    np.testing.assert_allclose(quantizer.undiscretize(np.arange(11)), golden["undiscretize"], rtol=0, atol=1e-14)
    # Ten thresholds, upwards: the smallest number that gets the higher bin, but for the last bit of this numpy's log.
    thresholds = np.sort(golden["quant_thresholds"])
    np.testing.assert_array_equal(quantizer.discretize(thresholds + 1e-14), np.arange(1, 11))
    np.testing.assert_array_equal(quantizer.discretize(thresholds - 1e-14), np.arange(10))
    degrees = golden["quant_int_degrees"]
    np.testing.assert_array_equal(quantizer.discretize(degrees[:, 0]), degrees[:, 1])


def test_importing_the_action_space_needs_only_numpy() -> None:
    """Nothing here may drag in a framework: `vpt --help` imports it."""
    heavy = ("torch", "cv2", "av", "pyarrow", "scipy", "pandas")
    code = f"import sys, data.actions; print([name for name in {heavy!r} if name in sys.modules])"
    room = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert room.stdout.strip() == "[]", room
    code = (
        "import sys, data.video, data.resample, data.recording, data.labels, data.label_parts, "
        "data.manifest; print([name for name in ('torch', 'cv2', 'pandas') if name in sys.modules])"
    )
    room = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert room.stdout.strip() == "[]", room
