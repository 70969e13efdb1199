"""Fine-tuning by reinforcement: what brings rewards is done more, near the prior or away from it, and a stop costs nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.actions import BUTTON_INDEX
from data.joint_actions import JointActions
from prior.agent import PolicyAgent
from prior.config import preset
from prior.policy import Policy
from prior.rl.phasic import RECIPES, PhasicConfig, PhasicLearner
from prior.rl.played import Played, advantages
from prior.training import DivergedError

ATTACKS = JointActions().button_table[:, BUTTON_INDEX["attack"]]
CONFIG = replace(RECIPES["debug"], epochs=3, gamma=0.5, learning_rate=3e-3, tether=0.0)


def prior(name: str = "debug") -> Policy:
    torch.manual_seed(0)
    return Policy(preset(name))


def play(policy: Policy, seed: int, count: int = 1, frames: int = 24, over: bool = False) -> list[Played]:
    """Episodes in a world of noise in which attacking is worth 1."""
    dice = np.random.default_rng(seed)
    agent = PolicyAgent(copy.deepcopy(policy), streams=count, seed=seed)
    images, motion, buttons, camera = [], [], [], []
    for _ in range(frames):
        keys, turn = agent.joint(list(dice.integers(0, 256, (count, 72, 128, 3), dtype=np.uint8)))
        images.append([view.images[0, ..., : policy.config.inputs.channels] for view in agent.seen])
        motion.append([view.motion[0] for view in agent.seen])
        buttons.append(keys)
        camera.append(turn)
    parts = (np.swapaxes(np.array(part), 0, 1) for part in (images, motion, buttons, camera))
    return [
        Played(seen, flow, keys, turns, ATTACKS[keys].astype(np.float32), over)
        for seen, flow, keys, turns in zip(*parts, strict=True)
    ]


def attacks(policy: Policy) -> float:
    """How likely the policy is to attack."""
    return float(np.mean([episode.reward.mean() for episode in play(policy, 900, 8)]))


def test_advantages_are_those_of_the_formula() -> None:
    dice = np.random.default_rng(0)
    reward, value = (dice.standard_normal(6).astype(np.float32) for _ in range(2))
    gamma, decay = 0.9, 0.7
    for over in (True, False):
        after = np.append(value[1:], 0)
        step = reward + gamma * after - value
        count = 6 if over else 5  # of the last frame nothing is known but its value
        told = [sum((gamma * decay) ** (j - i) * step[j] for j in range(i, count)) for i in range(count)]
        found = advantages(reward, value, over, gamma, decay)
        assert found[:count] == pytest.approx(told, abs=1e-5)
        assert over or found[5] == 0
    whole = advantages(reward, np.zeros(6, np.float32), True, 1.0, 1.0)
    assert whole == pytest.approx(np.cumsum(reward[::-1])[::-1], abs=1e-5), "all that is still to come"


@pytest.mark.parametrize("name", ["debug", "debug_motion"])
def test_what_brings_rewards_is_done_more(name: str) -> None:
    learner = PhasicLearner(prior(name), replace(CONFIG, learning_rate=1e-2))
    begun = attacks(learner.policy)
    for iteration in range(6):
        metrics = learner.learn(play(learner.policy, iteration, 6))
    assert metrics["divergence"] > 0.05 and np.isfinite(list(metrics.values())).all()
    assert attacks(learner.policy) > begun + 0.2, (begun, attacks(learner.policy))


def test_a_short_tether_keeps_it_near_the_prior_and_the_prior_as_it_was() -> None:
    weights = {name: value.clone() for name, value in prior().state_dict().items()}
    ends = {}
    for tether in (0.0, 100.0):
        learner = PhasicLearner(prior(), replace(CONFIG, tether=tether))
        for iteration in range(4):
            metrics = learner.learn(play(learner.policy, iteration, 4))
        ends[tether] = metrics["divergence"]
        assert all(torch.equal(value, weights[name]) for name, value in learner.prior.state_dict().items())
    assert ends[100.0] < 0.2 * ends[0.0], ends


def test_without_rewards_nothing_is_preferred_but_values_are_learnt() -> None:
    """Advantages of nothing are nothing; with a constant reward, values come to expect it."""
    learner = PhasicLearner(prior(), replace(CONFIG, gamma=0.0, learning_rate=1e-2))
    told = []
    for iteration in range(8):
        episodes = play(learner.policy, iteration, 4)
        # whatever is done, bright frames are worth 1
        paid = [replace(e, reward=(e.images.mean((1, 2, 3)) > 127.5).astype(np.float32)) for e in episodes]
        told.append(learner.learn(paid)["value_loss"])
    assert told[-1] < told[0]


def test_the_first_step_changes_nothing_by_looking_back() -> None:
    """The learner finds the same likelihoods as the agent had when it drew, in episodes of any length beside each other."""
    policy = prior("debug_motion")
    learner = PhasicLearner(policy, replace(CONFIG, batch=3, learning_rate=0.0, weight_decay=0.0))
    episodes = [*play(policy, 1, 2), *play(policy, 2, frames=5), *play(policy, 3, frames=17, over=True)]
    metrics = learner.learn(episodes)
    assert metrics["clipped"] == 0 and metrics["divergence"] == pytest.approx(0, abs=1e-6)
    assert metrics["acting"] == pytest.approx(0, abs=1e-4)  # ratios of 1 leave the mean of normalised advantages
    assert metrics["reward"] == pytest.approx(np.mean([e.reward.sum() for e in episodes]))


def test_stopped_and_gone_on_it_ends_with_the_same_weights() -> None:
    def iteration(learner: PhasicLearner) -> list[Played]:
        episodes = play(learner.policy, learner.iteration, 3)
        learner.learn(episodes)
        return episodes

    whole = PhasicLearner(prior(), CONFIG)
    for _ in range(4):
        iteration(whole)
    one = PhasicLearner(prior(), CONFIG)
    kept = [episode for _ in range(3) for episode in iteration(one)]
    other = PhasicLearner(prior(), CONFIG)
    assert one.iteration == 3 and one.sleeps_next, "the third of the two-by-two has not been slept on"
    other.resume(one.state(), kept[-3:])
    iteration(other)
    for ours, theirs in zip(other.policy.parameters(), whole.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_episodes_are_kept_as_they_are_and_other_files_are_named(tmp_path: Path) -> None:
    episode = play(prior("debug_motion"), 1, frames=6, over=True)[0]
    episode.save(tmp_path / "a.npz")
    again = Played.load(tmp_path / "a.npz")
    for name in ("images", "motion", "buttons", "camera", "reward"):
        assert np.array_equal(getattr(episode, name), getattr(again, name))
    assert again.over and again.counts.all() and not replace(again, over=False).counts[-1]
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:900])
    with pytest.raises(ValueError, match=r"b\.npz: expected an episode"):
        Played.load(tmp_path / "b.npz")


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="gamma must be from 0 to 1, got 2"):
        PhasicConfig(gamma=2)
    learner = PhasicLearner(prior(), CONFIG)
    with pytest.raises(ValueError, match="without a frame to learn from"):
        learner.learn(play(learner.policy, 1, frames=1))
    endless = play(learner.policy, 1)[0]
    with pytest.raises(DivergedError, match="in iteration 1 the loss was nan"):
        learner.learn([replace(endless, reward=np.full(len(endless), np.inf, np.float32))])
