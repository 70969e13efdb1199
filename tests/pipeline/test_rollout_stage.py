"""Episodes played one after another with what lasts between them are those played alone, to the last byte."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prior.checkpoint import save_policy
from prior.config import preset
from prior.policy import Policy
from vpt_pipeline.agents import Acting
from vpt_pipeline.envs.minerl.server import owned
from vpt_pipeline.rollout import Rollout, RolloutPlan, Stage, roll_out
from vpt_pipeline.rollout_models import Models
from vpt_pipeline.tasks import EVALUATION_SEEDS

FAKE = "minerl:Fake-v0"


@pytest.fixture(autouse=True)
def nothing_is_said_of_minerl(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VPT_MINERL_")]:
        monkeypatch.delenv(name)


def make_policy(folder: Path, seed: int) -> str:
    torch.manual_seed(seed)
    save_policy(folder, Policy(preset("debug")))
    return str(folder)


def plan_of(agent: str, number: int, folder: Path, steps: int = 12) -> RolloutPlan:
    seed = EVALUATION_SEEDS.start + number
    return RolloutPlan(agent, FAKE, "travel", seed, steps, (640, 360), Acting(), folder / f"{number}.mp4")


def content(rollout: Rollout, plan: RolloutPlan) -> tuple[dict[str, Any], bytes, bytes]:
    """All that came of an episode but how long it took."""
    assert plan.video is not None and not rollout.error
    told = asdict(replace(rollout, seconds=0.0, video=None, attempts=1))
    return told, plan.video.read_bytes(), plan.video.with_suffix(".jsonl").read_bytes()


def played_alone(plan: RolloutPlan, folder: Path) -> tuple[dict[str, Any], bytes, bytes]:
    assert plan.video is not None
    plan = replace(plan, video=folder / plan.video.name)
    return content(roll_out(plan), plan)


def test_an_episode_does_not_depend_on_those_before_it(tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "policy", 0)
    plans = [plan_of(policy, 1, tmp_path), plan_of("random", 2, tmp_path, 50), plan_of(policy, 3, tmp_path)]
    stage = Stage()
    try:
        together = []
        for plan in plans:
            together.append(content(roll_out(plan, stage=stage), plan))
            assert stage._env is not None
        assert (stage._env.episodes, stage._env.restarts) == (3, 0), "one game played all"
    finally:
        stage.close()
    assert together[0][1] != together[2][1] and len({*together[0][0]["presses"]}) > 1
    assert together == [played_alone(plan, tmp_path / "alone") for plan in plans]


def test_a_game_that_died_between_two_episodes_is_begun_again(tmp_path: Path) -> None:
    first, second = plan_of("random", 1, tmp_path), plan_of("random", 2, tmp_path)
    stage = Stage()
    try:
        roll_out(first, stage=stage)
        game = stage._env
        mark = game._link._mark
        for pid in owned.marked(owned.OWNER, mark):
            os.kill(pid, signal.SIGKILL)
        rollout = roll_out(second, stage=stage)
        assert rollout.attempts == 2 and stage._env is not game and stage._env is not None
        assert content(rollout, second) == played_alone(second, tmp_path / "alone")
        kept, link = stage._env, stage._env._link
        with stage.env(FAKE, (320, 180)) as other:  # another size is another game
            assert other is not kept and kept._link is None and link is not None
    finally:
        stage.close()


def test_weights_are_loaded_once_and_again_when_their_files_change(tmp_path: Path) -> None:
    models = Models()
    source, other = make_policy(tmp_path / "one", 0), make_policy(tmp_path / "two", 1)
    first = models.policy(source)
    assert models.policy(source) is first
    make_policy(tmp_path / "one", 2)
    changed = models.policy(source)
    assert changed is not first
    torch.manual_seed(2)
    fresh = Policy(preset("debug"))
    assert all(torch.equal(a, b) for a, b in zip(changed.parameters(), fresh.parameters(), strict=True))
    assert models.policy(other) is not changed and models.policy(source) is not changed
