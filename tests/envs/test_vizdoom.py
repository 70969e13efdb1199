"""The ViZDoom environment: repeatable to the byte, every key visible, truth that agrees with what was done."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.actions import DEGREES_PER_COUNT, Action
from vpt_pipeline.envs.vizdoom import Landscape, VizdoomEnv
from vpt_pipeline.envs.vizdoom.engine import picture_size
from vpt_pipeline.envs.vizdoom.env import tics_of_step
from vpt_pipeline.envs.vizdoom.map import WEAPONS, write_map

SMALL = (320, 180)
EMPTY = Landscape(size=48, hills=0, ponds=0, houses=0, gardens=0, scenery={}, items={})

GATE_SEED = 0
"""A map on which the way from the start to the gate is straight."""


@pytest.fixture
def env() -> Iterator[VizdoomEnv]:
    made = VizdoomEnv(SMALL)
    yield made
    made.close()


def act(*buttons: str, pitch: float = 0.0, yaw: float = 0.0) -> dict[str, Any]:
    return Action(frozenset(buttons), (pitch, yaw)).to_env()


def play(env: VizdoomEnv, actions: list[dict[str, Any]], seed: int = 0) -> tuple[list[bytes], list[dict[str, Any]]]:
    obs, info = env.reset(seed=seed)
    frames, infos = [obs["pov"].tobytes()], [info]
    for action in actions:
        obs, _, _, _, info = env.step(action)
        frames.append(obs["pov"].tobytes())
        infos.append(info)
    return frames, infos


def random_actions(count: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    buttons = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint", "use", "hotbar.3", "hotbar.6")
    actions: list[dict[str, Any]] = []
    while len(actions) < count:
        held = [name for name in buttons if rng.random() < 0.25]
        turn = rng.normal(0, 3, 2)
        actions += [act(*held, pitch=turn[0], yaw=turn[1])] * int(rng.integers(2, 12))
    return actions[:count]


def test_equal_seeds_and_actions_give_equal_bytes(env: VizdoomEnv) -> None:
    actions = random_actions(250, seed=5)
    first, truth = play(env, actions, seed=11)
    other = VizdoomEnv(SMALL)
    second, again = play(other, actions, seed=11)
    other.close()
    assert first == second
    assert truth == again
    assert len(set(first)) > 200  # the frames do move
    assert play(env, actions[:3], seed=12)[0][0] != first[0]


def test_questions_do_not_change_the_game(env: VizdoomEnv) -> None:
    actions = random_actions(60, seed=6)
    plain, _ = play(env, actions)
    obs, _ = env.reset(seed=0)
    frames = [obs["pov"].tobytes()]
    for action in actions:
        asked = env.ask("objects")
        obs, _, _, _, info = env.step(action)
        assert len(info["answers"][asked]) >= len(info["objects"])
        frames.append(obs["pov"].tobytes())
    assert frames == plain


@pytest.mark.parametrize(
    "button",
    ["attack", "back", "forward", "jump", "left", "right", "sneak", "drop", "hotbar.1", "hotbar.5", "hotbar.9"],
)
def test_each_key_shows_within_three_frames(env: VizdoomEnv, button: str) -> None:
    idle, _ = play(env, [act()] * 3, seed=2)
    pressed, _ = play(env, [act(button)] * 3, seed=2)
    assert idle[0] == pressed[0]
    assert any(before != after for before, after in zip(idle[1:], pressed[1:], strict=True))


@pytest.mark.parametrize("button", ["inventory", "pickItem", "swapHands"])
def test_keys_without_counterpart_are_accepted_and_show_nothing(env: VizdoomEnv, button: str) -> None:
    assert play(env, [act()] * 3)[0] == play(env, [act(button)] * 3)[0]


def test_sprint_is_faster_and_sneak_slower_than_walking(env: VizdoomEnv) -> None:
    env.reset(seed=0, options={"landscape": EMPTY})

    def distance(*buttons: str) -> float:
        _, info = env.reset(seed=0, options={"landscape": EMPTY})
        for _ in range(20):
            *_, info = env.step(act(*buttons))
        return float(info["distance"])

    sneak, walk, sprint = distance("forward", "sneak"), distance("forward"), distance("forward", "sprint")
    assert sneak * 1.2 < walk
    assert walk * 1.2 < sprint
    assert 3 < walk < 9  # metres in the first second


def test_forward_moves_along_the_yaw_and_right_to_its_right(env: VizdoomEnv) -> None:
    for button, off in (("forward", 0), ("right", 90), ("back", 180), ("left", -90)):
        _, start = env.reset(seed=1, options={"landscape": EMPTY})
        *_, start = env.step(act(yaw=33.0))
        for _ in range(20):
            *_, info = env.step(act(button))
        dx, dz = (info["position"][axis] - start["position"][axis] for axis in (0, 2))
        direction = math.degrees(math.atan2(dx, dz))
        assert abs((direction - start["yaw"] - off + 180) % 360 - 180) < 1.0


def test_camera_turns_by_whole_counts_and_loses_nothing(env: VizdoomEnv) -> None:
    _, start = env.reset(seed=0)
    rng = np.random.default_rng(0)
    wish, counts, turned = np.zeros(2), np.zeros(2), np.zeros(2)
    for _ in range(80):
        turn = rng.normal(0, (0.4, 2.0))
        *_, info = env.step(act(pitch=turn[0], yaw=turn[1]))
        wish += np.float32(turn)
        counts += info["camera_counts"][::-1]
        turned += info["camera_turn"]
        sent = np.array(info["camera_counts"][::-1]) * DEGREES_PER_COUNT
        assert np.abs(np.array(info["camera_turn"]) - sent).max() < 0.006  # the engine's unit of angle
    assert np.abs(counts * DEGREES_PER_COUNT - wish).max() <= DEGREES_PER_COUNT / 2 + 1e-4
    assert np.abs(turned - counts * DEGREES_PER_COUNT).max() < 0.006
    assert abs((info["yaw"] - start["yaw"] - turned[1] + 180) % 360 - 180) < 0.006
    assert abs(info["pitch"] - turned[0]) < 0.006


def test_positive_pitch_looks_down_as_far_as_the_engine_allows(env: VizdoomEnv) -> None:
    env.reset(seed=0)
    for pitch, limit in ((10.0, 56.0), (-10.0, -32.0)):
        for _ in range(12):
            *_, info = env.step(act(pitch=pitch))
        assert info["pitch"] == pytest.approx(limit, abs=0.1)
        assert info["camera_turn"][0] == 0.0


def test_frames_shift_with_the_camera(env: VizdoomEnv) -> None:
    """Turning right moves the picture to the left: checked on the far wall's row of pixels."""
    obs, _ = env.reset(seed=4)
    before = obs["pov"][60:110].astype(float)
    obs, *_ = env.step(act(yaw=6.0))
    after = obs["pov"][60:110].astype(float)
    error = [np.abs(before[:, 40 + shift : 280 + shift] - after[:, 40:280]).mean() for shift in range(-40, 41)]
    assert 5 <= int(np.argmin(error)) - 40 <= 30


def test_steps_are_twenty_a_second() -> None:
    tics = [tics_of_step(tick) for tick in range(400)]
    assert set(tics) == {1, 2}
    assert sum(tics) == 700  # 35 tics a second for 20 seconds
    assert tics[:4] * 100 == tics


def walk_to(env: VizdoomEnv, info: dict[str, Any], target: tuple[float, float, float], within: float) -> dict[str, Any]:
    for _ in range(200):
        x, _, z = info["position"]
        if math.dist((x, z), (target[0], target[2])) < within:
            break
        bearing = math.degrees(math.atan2(target[0] - x, target[2] - z)) - info["yaw"]
        *_, info = env.step(act("forward", yaw=(bearing + 180) % 360 - 180))
    return info


@pytest.mark.parametrize("key", ["use", None])
def test_gate_lets_through_only_when_used(env: VizdoomEnv, key: str | None) -> None:
    garden = Landscape(size=48, hills=0, ponds=0, houses=0, gardens=1, scenery={}, items={})
    env.reset(seed=GATE_SEED, options={"landscape": garden})
    question = env.ask("gates")
    *_, info = env.step(act())
    [(before, gate)] = info["answers"][question]
    info = walk_to(env, walk_to(env, info, before, 0.5), gate, 0.9)
    for _ in range(30):  # it takes a second to sink
        *_, info = env.step(act(*([key] if key else [])))
    lawn = tuple(g + 2.5 * (g - b) for g, b in zip(gate, before, strict=True))
    info = walk_to(env, info, (lawn[0], 0.0, lawn[2]), 1.5)
    reached = math.dist((info["position"][0], info["position"][2]), (lawn[0], lawn[2])) < 1.5
    assert reached == (key is not None)


def test_what_is_walked_over_is_gained_and_rewarded(env: VizdoomEnv) -> None:
    _, info = env.reset(seed=0, options={"task": "collect"})
    rewards = 0.0
    for _ in range(300):
        x, _, z = info["position"]
        things = [place for _, item, place in info["objects"] if item]
        target = min(things, key=lambda place: math.dist((x, z), (place[0], place[2])))
        bearing = math.degrees(math.atan2(target[0] - x, target[2] - z)) - info["yaw"]
        _, reward, _, _, info = env.step(act("forward", yaw=(bearing + 180) % 360 - 180))
        rewards += reward
        if info["events"]:
            assert info["events"][0]["type"] == "pickup"
            assert info["events"][0]["item"] in info["gained"]
            break
    assert rewards == sum(info["gained"].values()) >= 1


def test_number_keys_bring_nine_weapons_to_the_hand(env: VizdoomEnv) -> None:
    _, info = env.reset(seed=0)
    assert info["slots"] == [(slot, name, 1) for slot, name in enumerate(WEAPONS)]
    for slot in (0, 4, 8, 3):
        for frame in range(40):
            *_, info = env.step(act(f"hotbar.{slot + 1}") if frame < 3 else act())
        assert (info["hotbar"], info["held_item"]) == (slot, WEAPONS[slot])


def test_thrown_weapon_leaves_the_inventory_and_lies_there(env: VizdoomEnv) -> None:
    env.reset(seed=0)
    events = []
    for frame in range(10):
        *_, info = env.step(act("drop") if frame < 2 else act())
        events += info["events"]
    assert {"type": "drop", "item": "Pistol", "count": 1} in events
    assert "Pistol" not in info["inventory"]
    assert any(item == "Pistol" for _, item, _ in info["objects"])
    assert not info["gained"]


def test_esc_ends_the_episode(env: VizdoomEnv) -> None:
    env.reset(seed=0)
    _, _, terminated, truncated, info = env.step(act("ESC"))
    assert (terminated, truncated, info["ended"]) == (True, False, "ESC")


def test_monsters_hurt_and_death_ends_the_episode(env: VizdoomEnv) -> None:
    landscape = Landscape(size=32, hills=0, ponds=0, houses=0, gardens=0, scenery={}, items={}, monsters={"Demon": 8})
    env.reset(seed=0, options={"landscape": landscape})
    for _ in range(1500):
        _, _, terminated, _, info = env.step(act("attack"))
        if terminated:
            break
    assert (terminated, info["ended"], info["is_dead"], info["hp"]) == (True, "death", True, 0)


@pytest.mark.parametrize(
    ("size", "picture"), [((640, 360), (640, 360)), ((128, 128), (256, 144)), ((321, 180), (400, 225))]
)
def test_sizes(size: tuple[int, int], picture: tuple[int, int]) -> None:
    assert picture_size(size) == picture
    env = VizdoomEnv(size)
    obs, _ = env.reset(seed=0)
    assert obs["pov"].shape == (size[1], size[0], 3)
    assert env.observation_space.contains(obs)
    assert env.action_space.contains(act("forward", yaw=3.0))
    env.close()


def test_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    env = VizdoomEnv(SMALL)
    env.reset(seed=0)
    env.reset(seed=1)
    assert Path.cwd() == here
    env.close()
    assert not list(here.iterdir())
    assert not list(temporary.iterdir())


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_the_engine_does_not_outlive_a_killed_process() -> None:
    code = """
import pathlib, signal
from vpt_pipeline.envs.vizdoom import VizdoomEnv
env = VizdoomEnv((160, 90))
env.reset(seed=0)
tasks = pathlib.Path("/proc/self/task").glob("*/children")
children = [child for task in tasks for child in task.read_text().split()]
print(*children, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as player:
        assert player.stdout is not None
        engine = Path("/proc") / player.stdout.readline().strip()
        assert "vizdoom" in (engine / "cmdline").read_text()
        player.kill()
    for _ in range(100):
        if not engine.exists() or "\nState:\tZ" in (engine / "status").read_text():
            return
        time.sleep(0.05)
    os.kill(int(engine.name), signal.SIGKILL)
    raise AssertionError("the engine went on")


def test_maps_are_repeatable_and_differ_by_seed(tmp_path: Path) -> None:
    gates = write_map(tmp_path / "a.wad", 7)
    assert write_map(tmp_path / "b.wad", 7) == gates
    write_map(tmp_path / "c.wad", 8)
    assert (tmp_path / "a.wad").read_bytes() == (tmp_path / "b.wad").read_bytes() != (tmp_path / "c.wad").read_bytes()


def test_errors_say_what_was_expected(env: VizdoomEnv) -> None:
    with pytest.raises(RuntimeError, match="reset"):
        env.step(act())
    with pytest.raises(ValueError, match=r"too large.*1920"):
        VizdoomEnv((4000, 3000))
    with pytest.raises(ValueError, match="too small"):
        VizdoomEnv((10, 10))
    with pytest.raises(ValueError, match=r"fly.*travel, collect"):
        env.reset(options={"task": "fly"})
    with pytest.raises(ValueError, match=r"colour.*task"):
        env.reset(options={"colour": 1})
    with pytest.raises(ValueError, match=r"Dragon.*ZombieMan"):
        Landscape(monsters={"Dragon": 1})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"weather.*objects, gates"):
        env.ask("weather")
    with pytest.raises(ValueError, match=r"no arguments.*radius"):
        env.ask("objects", radius=3)
