"""The MineRL env over its server: spaces and info as in the other games, truths, VPT's checks and reward."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from data.actions import ENV_BUTTONS
from vpt_pipeline.envs import make_env
from vpt_pipeline.envs.minerl import MinerlDied, MinerlEnv
from vpt_pipeline.envs.minerl.checks import obstacles
from vpt_pipeline.envs.minerl.rewards import MostHeld, VptReward
from vpt_pipeline.envs.minerl.server import owned
from vpt_pipeline.envs.minerl.server.fake import FACTS, FakeGame
from vpt_pipeline.envs.minerl.settings import SERVER, MinerlSettings, command, environment, interpreter, settings_from
from vpt_pipeline.envs.minerl.truths import EpisodeTruth
from vpt_pipeline.envs.truth import GameTruth

HERE = MinerlSettings(python=sys.executable)


@pytest.fixture(scope="module")
def env() -> Iterator[MinerlEnv]:
    made = MinerlEnv("Fake-v0", settings=HERE)
    yield made
    made.close()


def test_spaces_and_info_are_those_of_the_other_games(env: MinerlEnv) -> None:
    observation, info = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    assert observation["pov"].shape == (360, 640, 3)
    keys = {name: gymnasium.spaces.Discrete(2) for name in ENV_BUTTONS}
    assert env.action_space == gymnasium.spaces.Dict(
        {**keys, "camera": gymnasium.spaces.Box(-180, 180, (2,), np.float32)}
    )
    assert set(GameTruth.__annotations__) | {"minerl"} == set(info)


def test_actions_arrive_and_frames_come_back_to_the_last_bit(env: MinerlEnv) -> None:
    game, dice = FakeGame(), np.random.default_rng(0)
    observation, _ = env.reset(seed=9)
    assert np.array_equal(observation["pov"], game.reset(9)[0])
    for _ in range(50):
        action: dict[str, Any] = {name: int(dice.integers(2)) for name in ENV_BUTTONS if name != "ESC"}
        action["camera"] = dice.normal(0, 30, 2).astype(np.float32)
        observation, _, ended, cut, info = env.step(action)
        held, camera = info["minerl"]["heard"]
        assert held == sorted(name for name, down in action.items() if name != "camera" and down)
        assert np.array_equal(np.float32(camera), action["camera"])
        assert np.array_equal(observation["pov"], game.step(held, camera)[0])
        assert not ended and not cut


def test_esc_ends_the_episode_and_reset_begins_another(env: MinerlEnv) -> None:
    env.reset(seed=1)
    _, _, ended, cut, info = env.step({"ESC": 1})
    assert (ended, cut, info["ended"]) == (True, False, "ESC")
    with pytest.raises(RuntimeError, match="reset"):
        env.step({})
    assert env.reset(seed=1)[1]["tick"] == 0


def test_inventory_of_an_episode(env: MinerlEnv) -> None:
    _, info = env.reset(seed=1, options={"inventory": ["oak_log 20", {"type": "torch", "quantity": 3}]})
    assert info["inventory"] == {"oak_log": 20, "torch": 3}
    assert env.reset(seed=1)[1]["inventory"] == {}
    with pytest.raises(ValueError, match="oak_log 20"):
        env.reset(options={"inventory": ["oak_log many"]})
    with pytest.raises(ValueError, match="expected some of inventory, biome"):
        env.reset(options={"animals": 3})


def test_a_start_that_minecraft_cannot_make_is_refused(env: MinerlEnv) -> None:
    with pytest.raises(ValueError, match=r"unknown biome 'birch_forest'; expected one of .*forest"):
        env.reset(options={"biome": "birch_forest"})
    for count in (0, 65):
        with pytest.raises(ValueError, match=f"{count} torch in one slot; expected 1 to 64"):
            env.reset(options={"inventory": [{"type": "torch", "quantity": count}]})
    with pytest.raises(ValueError, match="37 items; expected at most 36"):
        env.reset(options={"inventory": ["dirt"] * 37})
    for seed in (2**63, -(2**63) - 1):
        with pytest.raises(ValueError, match=rf"seed is {seed}; expected a whole number from"):
            env.reset(seed=seed)
    for seed in (-1, -(2**63), 2**63 - 1):  # half of Minecraft's worlds have a negative one
        env.reset(seed=seed)


def test_the_game_is_restarted_after_so_many_episodes() -> None:
    with MinerlEnv("Fake-v0", settings=MinerlSettings(python=sys.executable, restart_every=2)) as env:
        for _ in range(5):
            env.reset(seed=1)
        assert (env.episodes, env.restarts) == (5, 2)


def test_in_this_process_where_minerl_imports() -> None:
    with MinerlEnv("Fake-v0", settings=MinerlSettings(here=True)) as env:
        env.reset(seed=4)
        frame = env.step({"forward": 1})[0]["pov"]
        game = FakeGame()
        game.reset(4)
        assert np.array_equal(frame, game.step(["forward"], [0.0, 0.0])[0])


# ---------------------------------------------------------------- truths
def news(**more: Any) -> dict[str, Any]:
    return {"xpos": 10.0, "ypos": 64.0, "zpos": 20.0, "yaw": 90.0, "pitch": 5.0, "inventory": [], **more}


def test_looking_and_walking_agree_with_the_convention_of_all_games() -> None:
    truth = EpisodeTruth(news())
    truth.info(news(), 0)
    walked = truth.info(news(xpos=7.0), 1)  # Minecraft's yaw 90 looks along -x
    assert walked["yaw"] == 90.0
    assert np.allclose(walked["velocity"], (60.0, 0.0, 0.0))  # looking along yaw 90 is looking along (1, 0)
    assert walked["distance"] == pytest.approx(3.0)
    turned = truth.info(news(xpos=7.0, yaw=-170.0 - 360), 2, {"camera": (3.0, 100.0)})
    assert turned["yaw"] == -170.0 and turned["camera_turn"] == (0.0, 100.0) and turned["camera_counts"] == (667, 20)


def test_what_was_gained_is_counted_from_the_reset_and_less_what_was_dropped() -> None:
    before = {"pickup": {"oak_log": 5}, "craft_item": {}, "drop": {}}
    truth = EpisodeTruth(news(**before))
    assert truth.info(news(**before), 0)["gained"] == {}
    after = {
        "pickup": {"oak_log": 8, "dirt": 2},
        "craft_item": {"stick": 4},
        "drop": {"dirt": 2},
        "mine_block": {"dirt": 2},
    }
    info = truth.info(news(**after), 1)
    assert info["gained"] == {"oak_log": 3, "stick": 4} and info["dug"] == {"dirt": 2}
    assert {"type": "pickup", "item": "oak_log", "count": 3} in info["events"]
    assert truth.info(news(**after), 2)["events"] == []


def test_death_ends_the_episode_even_where_minecraft_says_no_more() -> None:
    truth = EpisodeTruth(news(life_stats={"life": 20.0, "is_alive": True}))
    info = truth.info(news(life_stats={"life": 0.0, "is_alive": False}), 1, ended="done")
    assert info["is_dead"] and info["ended"] == "death" and info["hp"] == 0
    assert truth.info({"isGuiOpen": True}, 2)["position"] == (-10.0, 64.0, 20.0)


@pytest.mark.parametrize("said", [{"custom": {"deaths": 3}}, {"custom": {"deaths": 2}, "minecraft_over": True}])
def test_a_player_who_lives_again_before_it_is_told_has_died(said: dict[str, Any]) -> None:
    alive = {"life_stats": {"life": 20.0, "is_alive": True}, "custom": {"deaths": 2}}  # of earlier worlds
    truth = EpisodeTruth(news(**alive))
    assert not truth.info(news(**alive), 1)["is_dead"]
    info = truth.info(news(**alive | said), 2, ended="done")
    assert info["is_dead"] and info["ended"] == "death" and info["hp"] == 20


# ---------------------------------------------------------------- VPT's checks and reward, STEVE-1's measures
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"resolution": [320, 180]}, "expected [640, 360]: leave out --size"),
        ({"fov_range": [70.0, 130.0]}, "fov_range is [70.0, 130.0], expected [70.0, 70.0]"),
        ({"gamma_range": [0.0, 0.0]}, "gamma_range"),
        ({"guiscale_range": [2.0, 2.0]}, "guiscale_range"),
        ({"cursor_size_range": [8.0, 16.0]}, "cursor_size_range"),
        ({"actions": {"attack": 2, "camera": [[2], -180.0, 180.0]}}, "lacks"),
        ({"actions": {**FACTS["actions"], "use": 3}}, "{'use': 3}"),
        ({"actions": {**FACTS["actions"], "camera": [[2], -10.0, 10.0]}}, "the camera is"),
    ],
)
def test_what_vpt_cannot_play_is_named(wrong: dict[str, Any], said: str) -> None:
    assert obstacles(FACTS) == []
    (line,) = obstacles({**FACTS, **wrong})
    assert said in line


def test_the_env_refuses_what_vpt_cannot_play_unless_told() -> None:
    with MinerlEnv("Fake-v0", settings=HERE, facts={"fov_range": [90.0, 90.0]}) as env:
        with pytest.raises(ValueError, match=r"check=False(?s:.*)fov_range is \[90.0, 90.0\]"):
            env.reset()
        env.check = False
        env.reset()


def test_another_size_is_refused_by_its_option_or_played_on_demand() -> None:
    with pytest.raises(ValueError, match=r"resolution is \[320, 180\], expected \[640, 360\]: leave out --size"):
        MinerlEnv("Fake-v0", (320, 180), settings=HERE).reset()
    with MinerlEnv("Fake-v0", (320, 180), settings=HERE, check=False) as env:
        env.reset(seed=2)
        frame, game = env.step({})[0]["pov"], FakeGame(resolution=[320, 180])
        game.reset(2)
        assert frame.shape == (180, 320, 3) and np.array_equal(frame, game.step([], [0.0, 0.0])[0])


def test_vpts_reward_pays_each_item_up_to_its_number() -> None:
    def gained(**items: int) -> GameTruth:
        return {"gained": items}  # type: ignore[typeddict-item]

    reward = VptReward()
    assert reward.update(gained()) == 0
    assert reward.update(gained(oak_log=4, birch_log=2)) == pytest.approx(6 / 8)
    assert reward.update(gained(oak_log=4, birch_log=2)) == 0
    assert reward.update(gained(oak_log=9, birch_log=2)) == pytest.approx(2 / 8)  # eight logs and no more
    assert reward.update(gained(iron_pickaxe=2, diamond=3, diamond_pickaxe=1)) == pytest.approx(4 + 3 * 8 / 3 + 8)
    assert reward.update(gained(diamond=1)) == 0
    assert reward.update(gained(diamond=4)) == pytest.approx(8 / 3)


def test_steve_ones_measure_is_the_most_held_at_once() -> None:
    logs = MostHeld("_log")
    for held, best in (({"oak_log": 3, "birch_log": 1, "log": 9}, 4), ({"oak_planks": 8}, 4), ({"oak_log": 5}, 5)):
        assert logs.update({"inventory": held}) == best  # type: ignore[typeddict-item]


# ---------------------------------------------------------------- where it runs
def test_the_place_is_said_once_and_clearly() -> None:
    assert settings_from({"VPT_MINERL_PYTHON": "/p"}).where == "python /p"
    assert settings_from({"VPT_MINERL_MEMORY_LIMIT_GIB": "2.5"}).memory_limit == 2.5 * 2**30
    with pytest.raises(ValueError, match="both set"):
        settings_from({"VPT_MINERL_PYTHON": "/p", "VPT_MINERL_SERVER": "a:1"})
    with pytest.raises(ValueError, match="expected a number"):
        settings_from({"VPT_MINERL_STEP_TIMEOUT": "soon"})
    with pytest.raises(ValueError, match=r"nothing says where MineRL runs(?s:.*)vpt doctor minerl"):
        MinerlEnv("MineRLHumanSurvival-v0", settings=MinerlSettings())
    with pytest.raises(ValueError, match="no program"):
        MinerlEnv("MineRLHumanSurvival-v0", settings=MinerlSettings(python="/no/such/python")).reset()


def test_make_env_knows_minerl(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "VPT_MINERL_PYTHON",
        "VPT_MINERL_CONDA",
        "VPT_MINERL_CONTAINER",
        "VPT_MINERL_SERVER",
        "VPT_MINERL_HERE",
    ):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(make_env("minerl:Fake-v0", (640, 360)), MinerlEnv)
    with pytest.raises(ValueError, match="nothing says where"):
        make_env("minerl:MineRLHumanSurvival-v0")
    with pytest.raises(ValueError, match="minerl:NAME"):
        make_env("minecraft")


def test_the_server_is_python_3_8() -> None:
    """It runs under MineRL's interpreter; and nothing in it reads what could be code."""
    import ast

    folder = Path(__file__).parents[2] / "vpt_pipeline" / "envs" / "minerl" / "server"
    for file in folder.glob("*.py"):
        tree = ast.parse(file.read_text(), feature_version=(3, 8))
        imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not imported & {"pickle", "marshal", "shelve", "dill"} and not called & {"eval", "exec"}


ENGINE = """#!{python}
import os, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(" ".join(words) + chr(10))
if words[0] == "run":
    assert "{{server}}:/vpt-server:ro".format(server={server!r}) in words
    begin = words.index("/vpt-server")
    passed = [after for word, after in zip(words, words[1:]) if word == "-e"]
    inside = {{name: os.environ[name] for name in passed if name in os.environ}}
    os.chdir(words[words.index("-w") + 1] if "-w" in words else "/")
    os.execve(sys.executable, [sys.executable, {server!r}, *words[begin + 1 :]], inside)
"""
"""Plays a container engine: the environment and the working directory are the container's, not ours."""


def engine_of(folder: Path, name: str = "docker") -> tuple[MinerlSettings, Path]:
    """A container engine, and the file in which it writes down what it is told."""
    engine, log = folder / name, folder / "log"
    engine.write_text(ENGINE.format(python=sys.executable, log=str(log), server=str(SERVER)))
    engine.chmod(0o755)
    return MinerlSettings(container="minerl", engine=str(engine)), log


def test_a_container_gets_one_folder_and_is_ended_by_name(tmp_path: Path) -> None:
    settings, log = engine_of(tmp_path)
    with MinerlEnv("Fake-v0", settings=settings) as env:
        env.reset(seed=1)
        folder = env._link._folder  # type: ignore[union-attr]
        env.step({})
    started, ended = log.read_text().splitlines()
    assert started.startswith("run --rm -i --name vpt-minerl-") and f"-v {folder}:{folder} " in started
    assert ended == f"kill {started.split()[4]}"


def test_what_runs_in_a_container_carries_its_owners_mark_and_works_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPT_MINERL_FAKE", '{"fault": "raise", "at": 2}')  # reaches the game, too
    settings, _ = engine_of(tmp_path)
    with MinerlEnv("Fake-v0", settings=settings) as env:
        env.reset(seed=1)
        folder, mark = env._link._folder, env._link._mark  # type: ignore[union-attr]
        inside = owned.marked(owned.OWNER, mark)
        assert len(inside) == 2  # the server and its env
        assert {(Path("/proc") / str(pid) / "cwd").readlink() for pid in inside} == {folder}
        env.step({})
        with pytest.raises(MinerlDied, match="MineRL lost Minecraft"):
            env.step({})
    assert owned.marked(owned.OWNER, mark) == []


def test_a_mark_made_in_another_container_has_an_owner_whom_we_cannot_see() -> None:
    ours = owned.new_mark()
    pid, started, world, token = ours.split(".")
    assert owned.has_owner(ours) and owned.has_owner(f"{pid}.{started}.{world}1.{token}")
    assert not owned.has_owner(f"{pid}.1.{world}.{token}") and not owned.has_owner(f"{pid}.1.{token}")


@pytest.mark.parametrize(
    ("engine", "user", "keeps"), [("podman", 1000, True), ("podman", 0, False), ("docker", 1000, False)]
)
def test_rootless_podman_keeps_our_user(engine: str, user: int, keeps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: user)
    words = command(MinerlSettings(container="minerl", engine=f"/usr/bin/{engine}"), ["--facts"], None, "name")
    assert ("--userns=keep-id" in words) is keeps and f"{user}:{os.getgid()}" in words


def test_a_conda_environment_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "envs" / "minerl"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(sys.executable)
    (home / "bin" / "java").touch()
    conda = tmp_path / "conda"
    conda.write_text(f'#!/bin/sh\necho \'{{"envs": ["/opt/base", "{home}"]}}\'\n')
    conda.chmod(0o755)
    monkeypatch.setenv("CONDA_EXE", str(conda))
    settings = MinerlSettings(conda="minerl")
    assert interpreter(settings) == home / "bin" / "python"
    variables = environment(settings, "mark", tmp_path)
    assert variables["JAVA_HOME"] == str(home) and variables["PATH"].startswith(f"{home / 'bin'}:")
    with pytest.raises(ValueError, match="no conda environment 'minerl2'; found base, minerl"):
        interpreter(MinerlSettings(conda="minerl2"))
