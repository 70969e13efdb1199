"""Equal games for equal seeds, and nothing left behind, however a game or its owner ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpt_pipeline.envs.luanti import GameDied, LuantiEnv
from vpt_pipeline.envs.luanti.cache import RUN_PREFIX, new_run_folder

STEPS = 300
OWNER = """
import signal
import time
signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background job a shell has it ignored
from vpt_pipeline.envs.luanti import LuantiEnv
env = LuantiEnv((96, 96))
env.reset(seed=0)
game = env._running()
print(game.process.pid, game.run, flush=True)
time.sleep(600)
"""


def traces(game_pid: int, folder: Path) -> Callable[[], list[str]]:
    """A function that tells what is still there of a game that runs now: process, folder, display."""
    environment = Path(f"/proc/{game_pid}/environ").read_bytes().split(b"\0")
    display = next(part for part in environment if part.startswith(b"DISPLAY=:"))[9:].decode()
    things = [Path(f"/proc/{game_pid}"), folder, Path(f"/tmp/.X11-unix/X{display}")]
    assert all(thing.exists() for thing in things)
    return lambda: [str(thing) for thing in things if thing.exists()]


def wait_until_gone(left: Callable[[], list[str]], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left() == []


def test_equal_seeds_and_actions_give_equal_games(luanti_cache: Path, tmp_path: Path) -> None:
    """Two fresh processes side by side, one of which also asks questions."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.envs.luanti_play"]
    runs = [
        subprocess.Popen([*command, str(tmp_path / name), str(STEPS), "5", ask], cwd=root)
        for name, ask in (("a", "ask"), ("b", "no"))
    ]
    assert [run.wait(240) for run in runs] == [0, 0]
    truths_a, truths_b = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert truths_a == truths_b
    events = {event["type"] for truth in truths_a for event in truth["events"]}
    assert events >= {"dig", "place", "pickup", "drop", "punch"}
    frames_a, frames_b = (np.load(tmp_path / f"{name}.npy") for name in "ab")
    assert np.flatnonzero((frames_a != frames_b).any((1, 2, 3))).tolist() == []


def test_a_game_that_dies_or_hangs_is_named_and_replaced(luanti: LuantiEnv) -> None:
    luanti.reset(seed=0)
    game = luanti._running()
    left = traces(game.process.pid, game.run)
    os.kill(game.process.pid, signal.SIGKILL)
    with pytest.raises(GameDied, match=r"(?s)ended.*log"):
        luanti.step({})
    wait_until_gone(left)
    with pytest.raises(RuntimeError, match="call reset"):
        luanti.step({})

    luanti.reset(seed=0)
    game = luanti._running()
    left = traces(game.process.pid, game.run)
    game.timeout = 1.0
    os.kill(game.process.pid, signal.SIGSTOP)
    with pytest.raises(GameDied, match="not answered for 1 s"):
        luanti.step({})
    wait_until_gone(left)
    assert luanti.reset(seed=0)[1]["tick"] == 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_its_owner(luanti_cache: Path, end: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        left = traces(int(pid), Path(folder))
        owner.send_signal(end)
        owner.wait(20)
    finally:
        owner.kill()
        owner.communicate()
    wait_until_gone(left)


def test_close_leaves_nothing(luanti: LuantiEnv) -> None:
    luanti.reset(seed=0)
    game = luanti._running()
    left = traces(game.process.pid, game.run)
    luanti.close()
    luanti.close()
    assert left() == []


def test_folders_of_dead_owners_are_swept() -> None:
    finished = subprocess.Popen(["true"])
    finished.wait()
    mine = new_run_folder()
    stale = mine.with_name(f"{RUN_PREFIX}{finished.pid}-stale")
    stale.mkdir()
    other = new_run_folder()
    assert not stale.exists() and mine.exists()
    mine.rmdir()
    other.rmdir()
