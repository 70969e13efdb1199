"""`vpt evaluate` and `vpt play` in MineRL: tables as of the embedded game, and episodes that did not run counted as that."""

from __future__ import annotations

import json
import multiprocessing
import re
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import tyro

from vpt_pipeline import evaluate, play
from vpt_pipeline.envs.minerl.connection import PREFIX
from vpt_pipeline.envs.minerl.server import owned
from vpt_pipeline.evaluate import EvaluateConfig, _plan_of, plans_of, play_all, scores_of, table_of
from vpt_pipeline.progress import Bar
from vpt_pipeline.rollout import ATTEMPTS, Rollout, roll_out
from vpt_pipeline.tasks import EVALUATION_SEEDS, tasks_of
from vpt_pipeline.worlds import World

FAKE = "minerl:Fake-v0"
TASKS = ("travel", "logs", "dirt", "seeds")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "VPT_MINERL_PYTHON",
        "VPT_MINERL_CONDA",
        "VPT_MINERL_CONTAINER",
        "VPT_MINERL_SERVER",
        "VPT_MINERL_HERE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VPT_MINERL_STEP_TIMEOUT", "1.5")


BROKEN = {
    "die": "the env's process ended during step",
    "hang": "the env hangs: no answer to step within 1.5 s",
    "garbage": "the env server said nonsense during step: expected a message that begins with b'VPTM'",
}


def left_behind(run: str) -> list[object]:
    """Servers and envs of a run, and the shared memory of clients that are gone."""
    games = [pid for pid, found in owned._marked("VPT_TEST_RUN") if found == run and owned.OWNER in _environment(pid)]
    folders = [f for f in Path("/dev/shm").glob(f"{PREFIX}*") if not owned.has_owner(_mark(f))]
    return [*games, *folders]


def _environment(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "environ").read_text(errors="replace")
    except OSError:
        return ""


def _mark(folder: Path) -> str:
    return folder.name.removeprefix(PREFIX).replace("-", ".")


def test_an_evaluation_with_broken_episodes_completes_and_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = [EVALUATION_SEEDS.start + number for number in range(4)]
    faults = dict(zip(others, BROKEN, strict=True))
    monkeypatch.setenv("VPT_MINERL_FAKE", json.dumps({"faults": faults}))
    monkeypatch.setenv("VPT_TEST_RUN", str(tmp_path))  # so that its processes can be told from others'
    words = ["random", "--env", FAKE, "--task", "travel", "--episodes", "4", "--seconds", "1", "--workers", "2"]
    config = tyro.cli(EvaluateConfig, args=[*words, "--videos", "0", "--out", str(tmp_path)])
    assert evaluate.main(config) == 1  # not every episode ran
    until = time.monotonic() + 20  # for the folders of others' tests
    while left_behind(str(tmp_path)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left_behind(str(tmp_path)) == []
    (travel,) = json.loads((tmp_path / "summary.json").read_text())
    assert (travel["episodes"], travel["failed"]) == (1, 3)
    assert travel["mean"] > 0 and travel["success"] == 0.0
    rows = [json.loads(line)["rollout"] for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    by_seed = {row["seed"]: row for row in rows}
    assert len(rows) == 4 and by_seed[first]["attempts"] == 1 and not by_seed[first]["error"]
    for seed, fault in faults.items():
        assert f"failed to run {ATTEMPTS} times: {BROKEN[fault]}" in by_seed[seed]["error"]
        assert by_seed[seed]["result"] is None
    assert "3 failed to run" in (tmp_path / "table.md").read_text()

    monkeypatch.setenv("VPT_MINERL_FAKE", "{}")  # the same command again plays what did not run, and only that
    skipped: list[int] = []
    monkeypatch.setattr(Bar, "skip", lambda bar, frames: skipped.append(frames))
    assert evaluate.main(config) == 0 and skipped == [by_seed[first]["frames"]]
    assert json.loads((tmp_path / "summary.json").read_text())[0]["failed"] == 0
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 7


def test_stopped_in_the_middle_it_leaves_nothing_behind_and_keeps_what_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = plans_of(EvaluateConfig(("random",), ("travel",), 2, seconds=0.5, videos=0, game=FAKE))
    workers: list[int] = []

    def of_workers() -> list[object]:
        games = [pid for pid, mark in owned._marked(owned.OWNER) if int(mark.split(".")[0]) in workers]
        return [*games, *(folder for pid in workers for folder in Path("/dev/shm").glob(f"{PREFIX}{pid}-*"))]

    def stop(bar: Bar, frames: int) -> None:  # Ctrl-C, in the middle of the second episode
        if frames == first.steps:
            return
        workers.extend(process.pid or 0 for process in multiprocessing.active_children())
        assert len(workers) == 1 and len(of_workers()) >= 3  # server, env, folder
        raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        play_all([first, replace(second, steps=100_000)], tmp_path / "episodes.jsonl", 1)
    assert of_workers() == []
    (kept,) = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert json.loads(kept)["rollout"]["seed"] == first.seed


def test_the_table_is_laid_out_as_the_embedded_games() -> None:
    def table(game: str) -> list[list[str]]:
        results = [
            Rollout(agent, task, seed, 1, 1.0, True, measures=dict.fromkeys(tasks_of(game), 1.0))
            for agent in ("random", "runs/prior")
            for task in TASKS
            for seed in (1, 2)
        ]
        return table_of(scores_of(results, game))

    assert table("luanti") == table("minerl:MineRLHumanSurvival-v0")


def test_plans_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    (basalt,) = plans_of(EvaluateConfig(("random",), episodes=1, game="minerl:Fake-v0", task=("cave",)))
    assert (basalt.size, basalt.steps) == ((640, 360), 3600)
    assert {plan.task for plan in plans_of(EvaluateConfig(("random",), game=FAKE))} == set(TASKS)
    assert {plan.size for plan in plans_of(EvaluateConfig(("random",)))} == {(320, 180)}
    monkeypatch.setenv("VPT_MINERL_PYTHON", "/some/python")
    (plan,) = plans_of(EvaluateConfig(("random",), episodes=1, game="minerl:MineRLBasaltMakeWaterfall-v0"))
    assert plan.task == "waterfall"
    with pytest.raises(ValueError, match="scripted players know no Minecraft"):
        plans_of(EvaluateConfig(("scripted",), game=FAKE))
    with pytest.raises(ValueError, match="unknown task 'pillar'"):
        plans_of(EvaluateConfig(("random",), ("pillar",), game=FAKE))
    monkeypatch.delenv("VPT_MINERL_PYTHON")
    if not __import__("importlib.util").util.find_spec("minerl"):
        with pytest.raises(ValueError, match="nothing says where MineRL runs"):
            plans_of(EvaluateConfig(("random",), game="minerl:MineRLHumanSurvival-v0"))


def test_where_and_with_what_an_episode_begins_can_be_chosen(tmp_path: Path) -> None:
    words = ["random", "--env", FAKE, "--task", "logs", "--world-seed", "-5", "--biome", "forest"]
    words += ["--inventory", "oak_log 20", "torch", "--seconds", "0.2", "--episodes", "2"]
    config = tyro.cli(EvaluateConfig, args=[*words, "--videos", "0", "--out", str(tmp_path)])
    plans = plans_of(config)
    played = [roll_out(plan) for plan in plans]
    assert [(one.map_seed, one.seed, one.result, one.success) for one in played] == [
        (-5, seed, 20.0, True) for seed in (EVALUATION_SEEDS.start, EVALUATION_SEEDS.start + 1)
    ]
    row = json.loads(json.dumps(asdict(plans[0]), default=str))
    assert replace(_plan_of(row), video=None) == plans[0]
    del row["world"]  # as they were written before
    assert _plan_of(row).world == World()


@pytest.mark.parametrize(
    ("env", "words", "said"),
    [
        ("luanti", ["--biome", "plains"], "--biome: the tasks of luanti say themselves where and with what they begin"),
        (FAKE, ["--biome", "birch_forest"], "unknown biome 'birch_forest'; expected one of"),
        (FAKE, ["--inventory", "oak_log many"], "inventory item 'oak_log many': expected a name and how many"),
        (FAKE, ["--inventory", "oak_log 2000"], "2000 oak_log in one slot; expected 1 to 64"),
        (FAKE, ["--world-seed", str(2**63)], "the world's seed is 9223372036854775808; expected"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_anything_is_played(env: str, words: list[str], said: str) -> None:
    asked = ["random", "--env", env, *words]
    with pytest.raises(ValueError, match=re.escape(said)):
        plans_of(tyro.cli(EvaluateConfig, args=asked))
    with pytest.raises(ValueError, match=re.escape(said)):
        play.main(tyro.cli(play.PlayConfig, args=asked))


def test_play_writes_a_video_with_its_actions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["random", "--env", FAKE, "--task", "logs", "--seconds", "1", "--out", str(tmp_path)]
    assert play.main(tyro.cli(play.PlayConfig, args=words)) == 0
    (video,) = tmp_path.glob("videos/*.mp4")
    assert len(video.with_suffix(".jsonl").read_text().splitlines()) == 20
