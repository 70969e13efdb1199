"""`vpt finetune-rl`: rewards are the task's, episodes that are there are not played again, and it really plays and learns."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.joint_actions import JointActions
from prior.checkpoint import load_policy, save_policy
from prior.config import preset
from prior.policy import Policy
from prior.rl.played import Played
from tests.pipeline.fake_world import FakeWorld
from vpt_pipeline import rollout
from vpt_pipeline.envs.luanti import GameDied, missing_requirements
from vpt_pipeline.finetune_rl import FinetuneRlConfig, main, practice, prior_of
from vpt_pipeline.rl_play import PracticePlan, practise, practise_all
from vpt_pipeline.rollout import Stage


@pytest.fixture
def prior(tmp_path: Path) -> str:
    """A folder with a policy that knows nothing."""
    torch.manual_seed(0)
    save_policy(tmp_path / "prior", Policy(preset("debug_motion")))
    return str(tmp_path / "prior")


def plan_of(prior: str, file: Path) -> PracticePlan:
    return PracticePlan(prior, "luanti", "travel", 3, 60, (64, 36), file)


def test_rewards_are_what_the_measure_rose_by(prior: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds: list[FakeWorld] = []

    def make_env(game: str, size: tuple[int, int]) -> FakeWorld:
        dies = (40, GameDied("it fell over")) if not worlds else (None, None)
        worlds.append(FakeWorld(size, *dies))
        return worlds[-1]

    monkeypatch.setattr(rollout, "make_env", make_env)
    told: list[int] = []
    plan = plan_of(prior, tmp_path / "a.npz")
    with closing(Stage()) as stage:
        assert practise(plan, told.append, stage) == ""
        assert practise(replace(plan, file=tmp_path / "b.npz"), told.append, stage) == ""
    assert told == [20, 40, 20, 40, 60, 20, 40, 60] and len(worlds) == 3 and worlds[0].closed, "it died after frame 40"
    one, same = Played.load(tmp_path / "a.npz"), Played.load(tmp_path / "b.npz")
    assert np.array_equal(one.buttons, same.buttons) and np.array_equal(one.images, same.images)
    assert len(one) == 60 and not one.over and one.images.shape == (60, 36, 64, 6) and one.motion[1:].any()
    # the same actions once more, by hand
    world, track = FakeWorld((64, 36)), JointActions().to_track(one.buttons, one.camera)
    _, truth = world.reset(seed=3)
    far = [truth["max_distance"]]
    for index in range(60):
        far.append(world.step(track.action(index).to_env())[4]["max_distance"])
    assert one.reward == pytest.approx(np.diff(far), abs=1e-5) and one.reward.sum() > 0


def test_episodes_that_are_there_are_not_played_again_and_none_at_all_is_an_error(
    prior: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "make_env", lambda game, size: FakeWorld(size))
    plan = plan_of(prior, tmp_path / "a.npz")
    with closing(Stage()) as stage:
        practise(plan, lambda frames: None, stage)
    told: list[int] = []
    assert len(practise_all([plan], 1, lambda frames: None, told.append)) == 1 and told == [60], "no process was begun"


def test_what_cannot_be_played_is_said_at_once(prior: str, tmp_path: Path) -> None:
    config = FinetuneRlConfig(prior, out=tmp_path / "rl")
    with pytest.raises(ValueError, match="unknown task 'dirty'"):
        main(replace(config, task="dirty"))
    for seed in (999_990, -1):
        with pytest.raises(ValueError, match="kept for evaluation"):
            main(replace(config, seed=seed))
    with pytest.raises(ValueError, match="did you mean 'small'"):
        main(replace(config, recipe="smal"))
    with pytest.raises(ValueError, match="temperature must be above 0"):
        main(replace(config, temperature=0.0))
    assert not (tmp_path / "rl").exists()
    seeds = [plan.seed for iteration in range(3) for plan in practice(config, iteration)]
    assert len(set(seeds)) == len(seeds) == 48


def test_a_greedier_prior_stays_so_on_disk(prior: str, tmp_path: Path) -> None:
    policy = prior_of(FinetuneRlConfig(prior, temperature=0.5))
    save_policy(tmp_path / "greedy", policy)
    once, again = load_policy(prior)[0], load_policy(tmp_path / "greedy")[0]
    latents = torch.randn(1, 1, policy.config.hidden)
    usual, greedy = (p.pi_head.camera(latents) for p in (once, again))
    assert torch.allclose(torch.log_softmax(2 * usual, -1), greedy, atol=1e-5)


def test_it_plays_and_learns_and_goes_on(
    prior: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if missing := missing_requirements():
        pytest.skip(f"Luanti cannot run here: missing {'; '.join(missing)}")
    config = FinetuneRlConfig(
        prior, "travel", out=tmp_path / "rl", iterations=1, episodes=2, seconds=1.5, recipe="debug", size=(160, 96)
    )
    assert main(config) == 0
    assert len(list((tmp_path / "rl" / "played").iterdir())) == 2, "kept until they have been slept on"
    assert main(replace(config, iterations=2)) == 0
    assert "resuming at iteration 1" in capsys.readouterr().err
    assert not list((tmp_path / "rl" / "played").iterdir())
    rows = [json.loads(line) for line in (tmp_path / "rl" / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [0, 1] and "sleep_divergence" in rows[1]
    assert (tmp_path / "rl" / "reward.png").stat().st_size > 10_000
    before, after = (load_policy(folder)[0].state_dict() for folder in (prior, tmp_path / "rl"))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {"net.final_ln.weight", "pi_head.buttons.linear_layer.weight", "value_head.linear.weight"} <= changed
    with pytest.raises(ValueError, match=r"learning\.tether was 0\.2, is 0\.5"):
        main(replace(config, tether=0.5))
