"""Joint action numbers: against a plain restatement action by action, and the corners one at a time."""

import numpy as np
import pytest

from benchmarks.action_conversion import OneByOne, made_up, singles
from data.actions import BUTTON_INDEX, BUTTONS, Action, ActionTrack, CameraQuantizer
from data.joint_actions import (
    BUTTON_CHOICES,
    INVENTORY,
    NULL_BUTTONS,
    JointActions,
    arrays_to_env,
    env_to_arrays,
    env_to_idm,
    idm_to_env,
    stack_env,
)

JOINT = JointActions()


def number(held: str = "", pitch: int = 5, yaw: int = 5) -> tuple[int, int]:
    """The joint numbers of buttons, separated by blanks, and camera bins."""
    bits = [name in held.split() for name in BUTTONS]
    buttons, camera = JOINT.from_factored(bits, [pitch, yaw])
    return int(buttons), int(camera)


def held(buttons: int) -> set[str]:
    bits, _ = JOINT.to_factored(buttons, 60)
    return {name for name, down in zip(BUTTONS, bits, strict=True) if down}


def test_every_combination_has_its_number_and_its_buttons() -> None:
    plain = OneByOne()
    assert len(plain.combinations) == BUTTON_CHOICES == 8641 and JOINT.camera_choices == 121
    bits, _ = JOINT.to_factored(np.arange(BUTTON_CHOICES), np.full(BUTTON_CHOICES, 60))
    for combination, row in zip(plain.combinations, bits, strict=True):
        names = {combination} if combination == "inventory" else set(combination) - {"none", "camera"}
        assert {name for name, down in zip(BUTTONS, row, strict=True) if down} == names
    numbers = np.arange(INVENTORY)
    again, _ = JOINT.from_factored(bits[:-1], np.stack([5 + numbers % 2, np.full(INVENTORY, 5)], 1))
    np.testing.assert_array_equal(again, numbers)


def test_arrays_agree_with_one_action_after_another() -> None:
    buttons, camera = made_up(3000, seed=3)
    envs = singles(arrays_to_env(buttons, camera))
    plain = OneByOne()
    there = JOINT.from_degrees(buttons, camera)
    assert there[0].dtype == there[1].dtype == np.int64 and there[0].shape == (3000,)
    np.testing.assert_array_equal(np.stack(there, 1), [plain.from_env(env) for env in envs])
    np.testing.assert_array_equal(np.stack(JOINT.from_env(stack_env(envs)), 1), np.stack(there, 1))
    rng = np.random.default_rng(0)
    joint, turn = rng.integers(0, BUTTON_CHOICES, 3000), rng.integers(0, 121, 3000)
    joint[:50] = INVENTORY
    back = [plain.to_env(*pair) for pair in zip(joint.tolist(), turn.tolist(), strict=True)]
    ours = JOINT.to_env(joint, turn)
    for name in BUTTONS:
        np.testing.assert_array_equal(ours[name], [env[name] for env in back])
    np.testing.assert_allclose(ours["camera"], [env["camera"] for env in back], rtol=0, atol=1e-14)


def test_numbers_count_through_the_groups() -> None:
    assert number() == (0, 60) and number(yaw=6) == (1, 61) and number(pitch=0, yaw=0) == (1, 0)
    assert number("jump") == (2, 60) and number("attack")[0] == 4 and number("hotbar.9")[0] == 9 * 864


@pytest.mark.parametrize(
    ("pressed", "taken"),
    [
        ("forward back", ""), ("left right", ""), ("forward back left", "left"), ("sprint sneak", "sneak"),
        ("hotbar.2 hotbar.7 hotbar.4", "hotbar.7"), ("use drop attack jump", "use drop attack jump"),
        ("inventory forward attack hotbar.3", "inventory"),
    ],
)  # fmt: skip
def test_clashes(pressed: str, taken: str) -> None:
    assert held(number(pressed)[0]) == set(taken.split())


def test_the_inventory_excludes_the_camera_one_way_only() -> None:
    assert number("inventory", 0, 10) == (INVENTORY, 60)
    bits, bins = JOINT.to_factored(INVENTORY, 7)
    assert bits.sum() == 1 and bins.tolist() == [0, 7]
    _, bins = JOINT.to_factored(NULL_BUTTONS, 7)  # "no turn" wins over the turn
    assert bins.tolist() == [5, 5]


def test_leading_dimensions_are_kept() -> None:
    buttons, camera = made_up(24)
    there = JOINT.from_degrees(buttons.reshape(2, 3, 4, 20), camera.reshape(2, 3, 4, 2))
    assert there[0].shape == there[1].shape == (2, 3, 4)
    bits, degrees = JOINT.to_degrees(*there)
    assert bits.shape == (2, 3, 4, 20) and bits.dtype == bool and degrees.shape == (2, 3, 4, 2)
    np.testing.assert_array_equal(JOINT.from_degrees(buttons, camera)[0], there[0].reshape(-1))
    empty = JOINT.from_factored(np.zeros((0, 20)), np.zeros((0, 2), int))
    assert empty[0].shape == (0,) and JOINT.to_factored(*empty)[0].shape == (0, 20)


def test_what_is_null() -> None:
    buttons, camera = np.array([0, 0, 1, 1, 2, INVENTORY]), np.array([60, 7, 60, 61, 60, 60])
    assert JOINT.is_null(buttons, camera).tolist() == [True, True, True, False, False, False]
    assert not JOINT.is_null(buttons, camera, as_published=True).any()


def test_where_the_camera_counts() -> None:
    assert JOINT.camera_counts([0, 1, 2, 3, 8638, 8639, INVENTORY]).tolist() == [False, True] * 3 + [False]


def test_the_env_dictionary_is_the_agents() -> None:
    env = JOINT.to_env(*number("forward hotbar.1", 6, 4))
    assert list(env) == [*BUTTONS, "camera"]
    assert all(env[name].dtype == np.int64 and env[name].shape == (1,) for name in BUTTONS)
    assert env["camera"].dtype == np.float64 and env["camera"].shape == (1, 2)
    np.testing.assert_allclose(env["camera"], [[0.61539427, -0.61539427]])
    assert [name for name in BUTTONS if env[name][0]] == ["forward", "hotbar.1"]
    assert [part.tolist() for part in JOINT.from_env(env)] == [[part] for part in number("forward hotbar.1", 6, 4)]


def test_env_dictionaries_of_one_action_and_of_many() -> None:
    one = Action(frozenset({"jump", "ESC"}), (0.0, -3.0)).to_env()
    assert [part.tolist() for part in JOINT.from_env(one)] == [[3], [5 * 11 + 2]]
    assert [part.tolist() for part in JOINT.from_env({"jump": np.array([0, 1])})] == [[0, 2], [60, 60]]
    assert [part.tolist() for part in JOINT.from_env({})] == [[0], [60]]
    bits, degrees = env_to_arrays({"camera": np.zeros((2, 3, 2)), "jump": 1})
    assert bits.shape == (2, 3, 20) and bits[..., BUTTON_INDEX["jump"]].all() and degrees.shape == (2, 3, 2)
    with pytest.raises(ValueError, match=r"jump has shape \(3,\) beside a camera of \(2, 2\)"):
        JOINT.from_env({"camera": np.zeros((2, 2)), "jump": np.zeros(3)})
    with pytest.raises(ValueError, match=r"camera has shape \(3,\)"):
        JOINT.from_env({"camera": np.zeros(3)})


def test_tracks() -> None:
    track = ActionTrack.from_actions([Action(frozenset({"use"}), (10, 0)), Action(), Action(frozenset({"drop"}))])
    numbers = JOINT.from_track(track)
    back = JOINT.to_track(*numbers)
    np.testing.assert_array_equal(back.buttons, track.buttons)
    np.testing.assert_allclose(back.camera, track.camera, atol=1e-6)
    np.testing.assert_array_equal(JOINT.is_null(*numbers), track.is_null)


def test_the_idms_actions_are_left_as_they_are() -> None:
    rng = np.random.default_rng(0)
    bits, bins = rng.random((2, 5, 20)) < 0.5, rng.integers(0, 11, (2, 5, 2))
    env = idm_to_env(bits, bins)
    assert env["attack"].shape == (2, 5) and env["camera"].shape == (2, 5, 2)
    again = env_to_idm(env)
    np.testing.assert_array_equal(again[0], bits)
    np.testing.assert_array_equal(again[1], bins)


def test_another_quantizer() -> None:
    joint = JointActions(CameraQuantizer(max_degrees=20, bin_size=2, mu=5))
    assert joint.camera_choices == 441 and joint.null_camera == 220
    bins = np.array([[0, 20], [10, 10]])
    numbers = joint.from_factored(np.zeros((2, 20)), bins)
    assert numbers[0].tolist() == [1, 0] and numbers[1].tolist() == [20, 220]
    np.testing.assert_array_equal(joint.to_factored(*numbers)[1], bins)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match=r"buttons have shape \(19,\) and camera bins \(2,\)"):
        JOINT.from_factored(np.zeros(19), np.zeros(2, int))
    with pytest.raises(ValueError, match="camera bins go from 0 to 11; expected 0 to 10"):
        JOINT.from_factored(np.zeros(20), np.array([0, 11]))
    with pytest.raises(ValueError, match="camera bins are float64; expected whole numbers"):
        JOINT.from_factored(np.zeros(20), np.zeros(2))
    with pytest.raises(ValueError, match="joint buttons go from -1 to -1; expected 0 to 8640"):
        JOINT.camera_counts(-1)
    with pytest.raises(ValueError, match=r"joint buttons have shape \(2,\), joint camera \(3,\)"):
        JOINT.to_factored([0, 0], [60, 60, 60])
