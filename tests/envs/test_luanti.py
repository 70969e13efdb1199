"""The Luanti environment's contract: actions, camera, truth, GUI, questions, resets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.actions import BUTTONS, ENV_BUTTONS
from vpt_pipeline.envs import make_env
from vpt_pipeline.envs.luanti import LuantiEnv
from vpt_pipeline.envs.luanti.layout import slot_position
from vpt_pipeline.envs.truth import GameTruth

FAST = {"reset_mode": "fast"}


def start(env: LuantiEnv, **options: Any) -> dict[str, Any]:
    return env.reset(seed=3, options={**FAST, "start": 0, "yaw": 30.0, **options})[1]


def test_spaces_and_truth_follow_the_contract(luanti: LuantiEnv) -> None:
    observation, info = luanti.reset(seed=1)
    luanti.action_space.seed(0)
    assert luanti.observation_space.contains(observation)
    assert set(luanti.action_space.sample()) == {*ENV_BUTTONS, "camera"}
    assert set(info) == set(GameTruth.__annotations__)
    assert info["tick"] == 0 and info["hp"] == 20 and info["events"] == [] and info["gained"] == {}
    observation, reward, terminated, truncated, info = luanti.step(luanti.action_space.sample() | {"ESC": 0})
    assert luanti.observation_space.contains(observation)
    assert (reward, terminated, truncated, info["tick"]) == (0.0, False, False, 1)
    assert observation["pov"].std() > 5


def test_camera_turns_in_counts_and_carries_the_rest(luanti: LuantiEnv) -> None:
    before = start(luanti)
    counts = []
    for _ in range(10):
        info = luanti.step({"camera": (0.05, 0.2)})[4]
        counts.append(info["camera_counts"])
    assert sum(dx for dx, _ in counts) == round(2.0 / 0.15)
    assert sum(dy for _, dy in counts) == round(0.5 / 0.15)
    assert info["yaw"] - before["yaw"] == pytest.approx(13 * 0.15)  # to the right
    assert info["pitch"] - before["pitch"] == pytest.approx(3 * 0.15)  # down
    assert info["yaw"] == pytest.approx(-(luanti._running().truth["yaw"] - 360), abs=0.02)  # what the server believes


@pytest.mark.parametrize("keys", [("inventory",), ("drop", "back", "inventory")])
def test_a_fast_reset_closes_menus_that_open_late_too(luanti: LuantiEnv, keys: tuple[str, ...]) -> None:
    start(luanti)
    luanti.step(dict.fromkeys(keys, 1))
    assert not start(luanti)["gui_open"]
    assert not any(luanti.step({})[4]["gui_open"] for _ in range(3))


@pytest.mark.parametrize("yaw", [-150.0, -60.0, 30.0, 120.0])
def test_walking_goes_where_the_yaw_points(luanti: LuantiEnv, yaw: float) -> None:
    before = start(luanti, yaw=yaw)
    for _ in range(4):  # there is room around each start
        info = luanti.step({"forward": 1})[4]
    dx, _, dz = np.subtract(info["position"], before["position"])
    assert np.degrees(np.arctan2(dx, dz)) == pytest.approx(yaw, abs=2.0)


def test_pitch_stops_where_the_game_stops(luanti: LuantiEnv) -> None:
    start(luanti)
    for _ in range(3):
        info = luanti.step({"camera": (60.0, 0.0)})[4]
    assert info["pitch"] == 89.5 and info["camera_turn"] == (0.0, 0.0) and info["camera_counts"] == (0, 400)


@pytest.mark.parametrize("button", [name for name in BUTTONS if name != "hotbar.1"])
def test_each_button_shows(luanti: LuantiEnv, button: str) -> None:
    start(luanti, inventory=["default:cobble 5"], pitch=40.0)
    with_others = {"forward": 1} if button == "sprint" else {}
    for _ in range(12):
        observation = luanti.step(with_others)[0]
    still = observation["pov"].astype(int)
    start(luanti, inventory=["default:cobble 5"], pitch=40.0)
    for _ in range(7):
        luanti.step(with_others)
    for tick in range(5):
        observation = luanti.step({**with_others, button: int(button != "inventory" or tick == 0)})[0]
    assert np.abs(observation["pov"].astype(int) - still).mean() > 0.2


def test_digging_is_reported_and_undone_by_a_fast_reset(luanti: LuantiEnv) -> None:
    start(luanti, inventory=["default:shovel_wood"], pitch=60.0)
    for _ in range(120):
        info = luanti.step({"attack": 1})[4]
    assert sum(info["dug"].values()) >= 1 and sum(info["gained"].values()) >= 1
    start(luanti)
    number = luanti.ask("surface", x=round(info["position"][0]), z=round(info["position"][2]))
    answer = luanti.step({})[4]["answers"][number]
    assert answer[1].startswith("default:dirt_with")


def test_crafting_with_the_mouse(luanti: LuantiEnv) -> None:
    info = start(luanti, task="craft")
    info = luanti.step({"inventory": 1})[4]
    assert info["gui_open"]
    for slots, index in (("main", 0), ("craft", 4), ("result", 0), ("main", 8)):
        target = slot_position(luanti.size, slots, index)  # type: ignore[arg-type]
        while info["cursor"] != target:
            dx, dy = (np.clip(np.subtract(target, info["cursor"]), -20, 20) * 0.15).tolist()
            info = luanti.step({"camera": (dy, dx)})[4]
        info = luanti.step({"attack": 1})[4]
        observation, _, _, _, info = luanti.step({})
    x, y = info["cursor"]
    assert observation["pov"][y, x].tolist() == [0, 0, 0]  # the arrow's tip
    luanti.step({"inventory": 1})
    info = luanti.step({})[4]
    assert not info["gui_open"] and info["gained"] == {"default:wood": 4}
    assert info["slots"] == [(0, "default:tree", 3), (8, "default:wood", 4)] or info["inventory"]["default:wood"] == 4


def test_rewards_follow_the_task_and_escape_ends(luanti: LuantiEnv) -> None:
    start(luanti, task="build", pitch=40.0)
    total = 0.0
    for tick in range(12):
        _, reward, _, _, info = luanti.step({"use": tick % 4 == 0})
        total += reward
    assert total == sum(info["placed"].values()) >= 1
    _, _, terminated, _, info = luanti.step({"ESC": 1})
    assert terminated and info["ended"] == "ESC" and not info["gui_open"]


def test_hunting_animals(luanti: LuantiEnv) -> None:
    info = start(luanti, task="hunt")
    assert sum(name == "bridge:pig" for name, _, _ in info["objects"]) == 4
    assert info["held_item"] == "default:sword_stone"


def test_wrong_wishes_are_refused_with_what_is_possible(luanti: LuantiEnv) -> None:
    with pytest.raises(ValueError, match="there are wood"):
        luanti.reset(options={"task": "wod"})
    with pytest.raises(ValueError, match="unknown reset options"):
        luanti.reset(options={"seed": 3})
    with pytest.raises(ValueError, match="has starts 0 to"):
        luanti.reset(options={"start": 9999})
    start(luanti)
    with pytest.raises(ValueError, match="unknown question"):
        luanti.ask("teleport", pos=[0, 0, 0])
    with pytest.raises(RuntimeError, match="no such item"):
        start(luanti, inventory=["default:nonsense"])
    with pytest.raises(ValueError, match="unknown game"):
        make_env("chess")
