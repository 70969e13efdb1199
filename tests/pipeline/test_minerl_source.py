"""MineRL 1.0's own Python layer behind our server: its specifications, spaces, action commands, mission XML and fake env.

Needs MINERL_SRC, a source checkout of minerllabs/minerl, and VPT_MINERL_PYTHON, an interpreter with what it pins (gym
<= 0.23.1, numpy < 1.24, and the rest of its requirements.txt); no Java. docs/minerl.md has the commands. Without them
these tests are skipped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.actions import ENV_BUTTONS
from vpt_pipeline.envs.minerl import MinerlDied, MinerlEnv
from vpt_pipeline.envs.minerl.checks import obstacles
from vpt_pipeline.envs.minerl.server import owned
from vpt_pipeline.envs.minerl.server.fake import FakeGame
from vpt_pipeline.envs.minerl.settings import MinerlSettings, environment
from vpt_pipeline.envs.minerl.tasks import BASALT

SOURCE, PYTHON = os.environ.get("MINERL_SRC", ""), os.environ.get("VPT_MINERL_PYTHON", "")
pytestmark = pytest.mark.skipif(
    not (SOURCE and PYTHON), reason="MINERL_SRC (a checkout of MineRL 1.0) and VPT_MINERL_PYTHON are not both set"
)
SETTINGS = MinerlSettings(python=PYTHON, source=SOURCE, start_timeout=200)
STEPS = 10_000
NAMES = ("MineRLHumanSurvival-v0", "MineRLObtainDiamond-v0", "MineRLObtainDiamondShovel-v0", *BASALT)


def fake(name: str, **choices: Any) -> MinerlEnv:
    return MinerlEnv(name, settings=SETTINGS, mode="fake_minecraft", **choices)


def test_the_interpreter_is_minerls_own() -> None:
    what = "[sys.version, gym.__version__, numpy.__version__, minerl.__file__]"
    line = f"import sys, json, gym, numpy, minerl; print(json.dumps({what}))"
    done = subprocess.run(
        [PYTHON, "-c", line],
        env=environment(SETTINGS, "none", Path("/tmp")),
        capture_output=True,
        text=True,
        check=True,
    )
    _, gym, numpy, file = json.loads(done.stdout.splitlines()[-1])
    assert tuple(map(int, gym.split("."))) <= (0, 23, 1) and tuple(map(int, numpy.split(".")[:2])) < (1, 24)
    assert Path(file).is_relative_to(Path(SOURCE).resolve())


def commands_of(action: dict[str, Any]) -> dict[str, list[float]]:
    """The lines that MineRL sends to Minecraft."""
    lines = (line.split() for line in action["commands"].splitlines())
    return {name: [float(value) for value in values] for name, *values in lines}


def test_ten_thousand_steps_arrive_unchanged_in_both_directions() -> None:
    dice, game = np.random.default_rng(0), FakeGame()
    with fake("MineRLHumanSurvival-v0") as env:
        observation, info = env.reset(seed=12345)
        assert env.observation_space.contains(observation)
        assert np.array_equal(observation["pov"], game.reset(12345)[0])
        for step in range(STEPS):
            action: dict[str, Any] = {name: int(dice.random() < 0.3) for name in ENV_BUTTONS if name != "ESC"}
            action["camera"] = dice.normal(0, 20, 2).astype(np.float32)
            observation, _, ended, cut, info = env.step(action)
            said = commands_of(info["minerl"])
            assert np.array_equal(np.array(said.pop("camera"), np.float32), action["camera"])
            assert said == {**{name: [down] for name, down in action.items() if name != "camera"}, "ESC": [0]}
            held = [name for name, down in action.items() if name != "camera" and down]
            assert np.array_equal(observation["pov"], game.step(held, [float(a) for a in action["camera"]])[0])
            assert info["tick"] == step + 1 and not ended and not cut
        assert info["gained"]["oak_log"] > 100 and info["yaw"] == pytest.approx(info["minerl"]["yaw"])


@pytest.mark.parametrize("name", NAMES)
def test_every_environment_opens_with_vpts_settings(name: str) -> None:
    with fake(name) as env:
        observation, info = env.reset(seed=1)
        assert env.observation_space.contains(observation)
        assert obstacles(env.facts) == [] and len(env.facts["actions"]) == 24
        mission = info["minerl"]["mission"]
        for setting in (
            "<FOVSetting>70",
            "<GammaSetting>2",
            "<GuiScale>1",
            "<FakeCursorSize>16",
            "<Width>640",
            "<Height>360",
        ):
            assert setting in mission
        for asked in ("<ObservationFromFullStats/>", "<ObservationFromFullInventory", "<ObservationFromEquippedItem/>"):
            assert mission.count(asked) == 1  # BASALT's, too, which publishes the picture alone
        assert ("<SpawnInVillage>" in mission) == ("Village" in name)
        _, _, ended, _, info = env.step({"ESC": 1})
        assert (ended, info["ended"]) == ((True, "ESC") if name in BASALT else (False, ""))


def test_chosen_inventory_and_biome_reach_the_mission() -> None:
    with fake("MineRLBasaltMakeWaterfall-v0") as env:
        published = env.reset()[1]["minerl"]["mission"]
        assert "water_bucket" in published and "<PreferredSpawnBiome>extreme_hills" in published
        chosen = env.reset(options={"inventory": ["oak_log 20"], "biome": "plains"})[1]["minerl"]["mission"]
        assert re.findall(r'type="(\w+)" quantity="(\d+)"', chosen) == [("oak_log", "20")]
        assert chosen.count("<PreferredSpawnBiome>") == 1 and "<PreferredSpawnBiome>plains" in chosen


def test_items_that_minecraft_does_not_have_are_refused_and_negative_seeds_are_not() -> None:
    with fake("MineRLHumanSurvival-v0") as env:
        for item, said in (
            ("diamond_pikaxe", r"'diamond_pikaxe', which is no item(.*)did you mean diamond_pickaxe"),
            ("minecraft:oak_log", r"did you mean oak_log"),
            ("diamond_pickaxe 2", r"2 diamond_pickaxe in one slot; expected 1 to 1"),
            ("ender_pearl 17", r"expected 1 to 16"),
        ):
            with pytest.raises(ValueError, match=said):
                env.reset(options={"inventory": [item]})
        assert env.reset(seed=-(2**63), options={"inventory": ["ender_pearl 16"]})[1]["tick"] == 0


def test_a_second_episode_lasts_as_long_as_the_first() -> None:
    """MineRL's BASALT wrapper does not set its counter back; and its time is up, not its goal reached."""
    with fake("MineRLBasaltFindCave-v0") as env:
        for _ in range(2):
            env.reset(seed=1)
            ended = cut = False
            steps = 0
            while not ended and not cut:
                _, _, ended, cut, info = env.step({})
                steps += 1
            assert (steps, ended, cut, info["ended"]) == (3600, False, True, "time")


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_in_a_warm_game_is_that_of_a_fresh_one(name: str) -> None:
    def played(env: MinerlEnv) -> list[Any]:
        dice = np.random.default_rng(1)
        observation, info = env.reset(seed=11)
        seen: list[Any] = [observation["pov"].tobytes(), told(info)]
        for _ in range(30):
            action: dict[str, Any] = {key: int(dice.random() < 0.3) for key in ENV_BUTTONS if key != "ESC"}
            observation, reward, ended, cut, info = env.step(action | {"camera": dice.normal(0, 20, 2)})
            seen.append((observation["pov"].tobytes(), reward, ended, cut, told(info)))
        return seen

    def told(info: dict[str, Any]) -> str:
        return re.sub(r"<ExperimentUID>.*?</ExperimentUID>", "", json.dumps(info, sort_keys=True))

    with fake(name) as warm:
        warm.reset(seed=5)
        for _ in range(70):  # three logs, which are rewarded once an episode; with keys down to the end
            warm.step({"attack": 1, "inventory": 1, "forward": 1, "camera": (3.0, 40.0)})
        again = played(warm)
        assert warm.restarts == 0
    with fake(name) as fresh:
        assert played(fresh) == again


def test_vpts_diamond_reward_is_paid_and_minerls_shovel_reward_is_its_own() -> None:
    def earned(name: str) -> float:
        with fake(name) as env:
            env.reset(seed=1)
            rewards = [env.step({"attack": 1})[1] for _ in range(60)]  # three logs
        return sum(rewards)

    assert earned("MineRLObtainDiamond-v0") == pytest.approx(3 / 8)
    assert earned("MineRLObtainDiamondShovel-v0") == 1.0


def test_what_minerl_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(
        ValueError,
        match=r"unknown MineRL environment 'MineRLBasaltFindCaves-v0'; expected(?s:.*)MineRLBasaltFindCave-v0",
    ):
        fake("MineRLBasaltFindCaves-v0").reset()
    with pytest.raises(ValueError, match=r"fov_range is \[70.0, 130.0\]"):
        fake("MineRLHumanSurvival-v0", fov_range=[70, 130]).reset()
    elsewhere = dataclasses.replace(SETTINGS, source=str(Path(__file__).parent))
    with pytest.raises(MinerlDied, match=r"MineRL does not import(?s:.*)vpt doctor minerl"):
        MinerlEnv("MineRLHumanSurvival-v0", settings=elsewhere).reset()


def with_minecraft(folder: Path, script: str) -> MinerlSettings:
    """MineRL's package with something in Minecraft's place."""
    shutil.copytree(
        Path(SOURCE) / "minerl", folder / "minerl", ignore=shutil.ignore_patterns("MCP-Reborn", "Malmo", ".git")
    )
    launch = folder / "minerl" / "MCP-Reborn" / "launchClient.sh"
    launch.parent.mkdir()
    launch.write_text(f"#!/bin/bash\n{script}\n")
    launch.chmod(0o755)
    return dataclasses.replace(SETTINGS, source=str(folder), reset_timeout=30)


def test_minerl_without_minecraft_says_what_it_said(tmp_path: Path) -> None:
    settings = with_minecraft(tmp_path, "echo 'Error: Unable to access jarfile build/libs/mcprec-6.13.jar'")
    with pytest.raises(MinerlDied, match=r"reset failed: (?s:.*)Unable to access jarfile"):
        MinerlEnv("MineRLHumanSurvival-v0", settings=settings).reset()


def test_minecrafts_last_words_are_told_and_its_output_fills_nothing(tmp_path: Path) -> None:
    script = """
        echo '***** Start MalmoEnvServer on port 1'
        echo 'CLIENT enter state: DORMANT'
        yes custom.jump | head -n 50000
        echo 'java.lang.OutOfMemoryError: Java heap space'
        touch "$(dirname "$0")/said"
        sleep 1000"""
    settings = with_minecraft(tmp_path, script)
    with pytest.raises(MinerlDied, match=r"reset failed: (?s:.*)last words:(?s:.*)OutOfMemoryError") as died:
        MinerlEnv("MineRLHumanSurvival-v0", settings=settings).reset()
    assert "custom.jump" not in str(died.value)
    assert (tmp_path / "minerl" / "MCP-Reborn" / "said").exists()


def test_what_minerl_started_and_forgot_is_ended(tmp_path: Path) -> None:
    """MineRL starts Minecraft in a session of its own and a watcher as a daemon; neither is a descendant of ours any more."""
    settings = dataclasses.replace(with_minecraft(tmp_path, "sleep 1000 & sleep 1000"), reset_timeout=25)
    env = MinerlEnv("MineRLHumanSurvival-v0", settings=settings)
    seen: dict[int, str] = {}
    watch = threading.Event()

    def look() -> None:
        while not watch.wait(0.5):
            for pid, _ in owned._marked(owned.SESSION):
                with contextlib.suppress(OSError):
                    seen[pid] = (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        with pytest.raises(MinerlDied, match="the env hangs: no answer to reset within 25 s"):
            env.reset()
    finally:
        watch.set()
        thread.join()
    assert any("sleep 1000" in line for line in seen.values()), seen
    assert any("process_watcher" in line for line in seen.values()), seen
    assert {pid: line for pid, line in seen.items() if owned._started(pid)} == {}
