"""`vpt evaluate --cluster` on a Ray cluster of two nodes: the same table, videos come back, deaths are made up for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import ray
import tyro

from vpt_pipeline import evaluate
from vpt_pipeline.envs.luanti import missing_requirements
from vpt_pipeline.envs.minerl.connection import PREFIX
from vpt_pipeline.evaluate import EvaluateConfig, plans_of
from vpt_pipeline.rollout import Rollout, Stage, roll_out
from vpt_pipeline.rollout_cluster import Player
from vpt_pipeline.tasks import EVALUATION_SEEDS

MEMORY = Path("/dev/shm")
LAYOUT = "| task | random |\n| --- | --- |\n| travel (m) | N (N to N), N |\n"
"""Of the table of every game, for numbers N."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:  # so that the machines say nothing of MineRL
        for name in [name for name in os.environ if name.startswith(("VPT_MINERL_", "MINERL_"))]:
            patch.delenv(name)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster.address
        ray.shutdown()
        cluster.shutdown()


def command(env: str, out: Path, *more: str, episodes: int = 2) -> EvaluateConfig:
    words = ["random", "--env", env, "--task", "travel", "--episodes", str(episodes), "--seconds", "1"]
    return tyro.cli(EvaluateConfig, args=[*words, "--out", str(out), *more])


def played(out: Path) -> list[Rollout]:
    rows = [json.loads(line)["rollout"] for line in (out / "episodes.jsonl").read_text().splitlines()]
    return sorted((Rollout(**row) for row in rows), key=lambda rollout: rollout.seed)


def layout(out: Path) -> str:
    return re.sub(r"\d+\.\d+|\d+%", "N", (out / "table.md").read_text())


@pytest.mark.skipif(bool(missing_requirements()), reason="Luanti cannot run here")
def test_episodes_are_those_of_one_process_and_videos_come_back(address: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with closing(Stage()) as stage:  # one after the other
        expected = [roll_out(plan, stage=stage) for plan in plans_of(command("luanti", here, "--size", "160", "90"))]
    assert evaluate.main(command("luanti", there, "--size", "160", "90", "--cluster", address)) == 0  # each in its own
    (video,) = (there / "videos").glob("*.mp4")
    assert [replace(rollout, seconds=0.0) for rollout in played(there)] == [
        replace(rollout, seconds=0.0, video=rollout.video and str(video)) for rollout in expected
    ]
    assert layout(there) == LAYOUT
    assert video.stat().st_size > 1000
    records = video.with_suffix(".jsonl")
    assert records.read_bytes() == (here / "videos" / records.name).read_bytes()


def _kill_who_plays(killed: list[int]) -> None:
    """The first actor that has a picture of its episode; its game's folder tells whose it is."""
    until = time.monotonic() + 120
    while time.monotonic() < until and not killed:
        for frames in MEMORY.glob(f"{PREFIX}*/frames"):
            pid = int(frames.parent.name.removeprefix(PREFIX).split("-")[0])
            with contextlib.suppress(OSError):
                if any(frames.read_bytes()[:99]) and b"ray::Player" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
        time.sleep(0.01)


def test_dead_actors_cost_nothing_and_what_cannot_run_is_counted(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = EVALUATION_SEEDS.start + 1
    monkeypatch.setenv("VPT_MINERL_FAKE", json.dumps({"fault": "raise", "at": 1, "seeds": [second]}))
    killed: list[int] = []
    killer = Thread(target=_kill_who_plays, args=(killed,))
    killer.start()
    more = ("--videos", "0", "--workers", "1", "--cluster", address)
    assert evaluate.main(command("minerl:Fake-v0", tmp_path, *more, episodes=3)) == 1  # not every episode ran
    killer.join()
    assert killed and re.search(r"seed 1000000: its process on \S+ died[^;]*; begun again", _words(capsys))
    first, broken, last = played(tmp_path)
    assert first.frames == last.frames == 20 and not first.error and not last.error
    assert broken.seed == second and "failed to run 3 times: step failed: MineRL lost" in broken.error
    assert layout(tmp_path).replace(", 1 failed to run", "") == LAYOUT
    until = time.monotonic() + 20
    while (left := [*MEMORY.glob(f"{PREFIX}{killed[0]}-*")]) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left, "the game of a killed actor puts its things away by itself"


def _words(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_machine_whose_interpreter_is_missing_refuses_before_it_gets_an_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("VPT_MINERL_", "MINERL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VPT_MINERL_PYTHON", "/no/such/python")
    (plan, *_) = plans_of(command("minerl:Fake-v0", tmp_path))
    with (
        closing(Player(str(Path.cwd()), {})) as player,
        pytest.raises(ValueError, match="VPT_MINERL_PYTHON is '/no/such/python', which is no program"),
    ):
        player.start(plan)


def test_a_cluster_that_cannot_play_says_why(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no machine of the cluster can play: .*nothing says where MineRL runs"):
        evaluate.evaluate(command("minerl:MineRLHumanSurvival-v0", tmp_path, "--cluster", address, "--workers", "1"))
