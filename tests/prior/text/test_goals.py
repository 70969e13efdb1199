"""Goals in hindsight reach the loss: of the right frames, drawn anew each epoch, and what is frozen stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.frame_inputs import FrameInputs
from prior.episodes import Episode
from prior.policy import Policy
from prior.sequences import SequenceLoader, Source, Variation
from prior.text.goals import STRETCH, HindsightGoals
from prior.text.policy import GoalPolicy
from prior.text.relabel import NO_GOAL, Relabelling
from prior.training import RECIPES, Cloner
from tests.prior.test_cloning import CONFIG, episode


def numbered(frames: int, size: int = 4) -> np.ndarray:
    """Embeddings that tell their frame; never zero, which would be no goal."""
    return np.repeat(np.arange(1, frames + 1, dtype=np.float16)[:, None], size, 1)


def test_goals_lie_ahead_and_are_drawn_anew_each_epoch() -> None:
    frames = 2 * STRETCH + 100
    goals = HindsightGoals([numbered(frames), numbered(300)], Relabelling(unconditional=0.0), seed=1)
    first, second = (goals(epoch, 0, slice(None))[:, 0] - 1 for epoch in (0, 1))
    ahead = first - np.arange(frames)
    assert ahead.min() == 0 and ahead.max() <= 199 + 14 and len(np.unique(first)) > 8
    assert not np.array_equal(first, second)
    part = slice(70, 134)
    assert np.array_equal(goals(0, 0, part)[:, 0] - 1, first[part])
    again = HindsightGoals([numbered(frames), numbered(300)], Relabelling(unconditional=0.0), seed=1)
    assert np.array_equal(again(0, 0, slice(None))[:, 0] - 1, first)


def test_some_stretches_have_no_goal() -> None:
    goals = HindsightGoals([numbered(4 * STRETCH)], Relabelling(unconditional=0.5), seed=0)
    without = [goals.goal_frames(epoch, 0).reshape(4, STRETCH) == NO_GOAL for epoch in range(40)]
    whole = np.array([stretch.all(1) for stretch in without])
    assert np.array_equal(whole, np.array([stretch.any(1) for stretch in without]))
    assert 0.3 < whole.mean() < 0.7
    assert not goals(int(np.flatnonzero(whole.any(1))[0]), 0, slice(None)).all()


def test_no_goal_lies_beyond_a_cut() -> None:
    first = np.zeros(400, bool)
    first[[0, 130, 135, 300]] = True
    goals = HindsightGoals([numbered(400)], Relabelling(unconditional=0.0), first=[first], window=6)
    for epoch in range(20):
        wanted = goals.goal_frames(epoch, 0)
        assert (wanted[130:135] == NO_GOAL).all(), "shorter than a window"
        for begin, end in ((0, 130), (135, 300), (300, 400)):
            assert wanted[end - 1] == end - 1 and (wanted[begin:end] >= np.arange(begin, end)).all()
            assert wanted[begin:end].max() == end - 1
    assert not goals(0, 0, slice(130, 135)).any()


def test_mirrored_episodes_want_what_the_mirrored_video_shows() -> None:
    episodes = [episode(200, 1), episode(200, 2)]
    plain, turned = ([sign * numbered(200) for _ in episodes] for sign in (1, -1))
    goals = HindsightGoals(plain, Relabelling(unconditional=0.0), mirrored=turned)
    for share, signs in ((0.0, {1}), (1.0, {-1}), (0.5, {1, -1})):
        loader = SequenceLoader([Source(episodes)], 2, 16, 0, Variation(mirror=share), goals)
        assert {int(sign) for step in range(20) for sign in loader.draw(step).goals.sign().unique()} == signs
    loader = SequenceLoader([Source(episodes)], 2, 16, 0, Variation(mirror=1.0), HindsightGoals(plain))
    with pytest.raises(ValueError, match="embed the mirrored videos, too"):
        loader.draw(0)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        HindsightGoals([numbered(30, 4), numbered(30, 5)])


def with_goals(told: list[Episode]) -> HindsightGoals:
    """The goal says what is done: an oracle, so that learning from it shows."""
    rows = [np.where(e.buttons == e.buttons.max(), 1.0, -1.0)[:, None].repeat(4, 1) for e in told]
    return HindsightGoals(rows, Relabelling(1, 1, unconditional=0.0))


def blind(seed: int) -> Episode:
    """An episode whose pictures tell nothing."""
    told = episode(200, seed)
    assert isinstance(told.inputs, FrameInputs)
    told.inputs.images[:] = np.random.default_rng(seed).integers(0, 255, told.inputs.images.shape)
    return told


def test_a_policy_learns_to_follow_goals_and_its_frozen_trunk_stays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    episodes = [blind(1), blind(2)]
    plain = Policy(CONFIG)
    losses = {}
    for name, goals in (("with", with_goals(episodes)), ("without", None)):
        policy = GoalPolicy.of(plain, 4)
        policy.net.img_process.requires_grad_(False)
        loader = SequenceLoader([Source(episodes)], 4, CONFIG.chunk, 0, goals=goals)
        training = replace(RECIPES["debug"], steps=50, learning_rate=5e-3, average=0.5)
        cloner = Cloner(tmp_path / name, policy, training, loader)
        last: dict[str, float] = {}
        finished = cloner.run(lambda _, metrics, last=last: last.update(metrics))  # type: ignore[misc]
        losses[name] = last["loss"]
        for key, value in plain.net.img_process.state_dict().items():
            assert torch.equal(finished.net.img_process.state_dict()[key], value)
        assert not torch.equal(*(one.get_parameter("net.lastlayer.layer.weight") for one in (finished, plain)))
    assert losses["with"] < 0.8 * losses["without"], losses


def test_how_long_goals_are_does_not_change_how_fast_they_are_learnt(tmp_path: Path) -> None:
    episodes, training = [blind(1), blind(2)], replace(RECIPES["debug"], steps=5, clip_gradients=1e6)
    added = []
    for length in (2.0, 0.02):
        torch.manual_seed(0)
        goals = with_goals(episodes)
        goals._embeddings = [rows * length / 2 for rows in goals._embeddings]
        policy = GoalPolicy.of(Policy(CONFIG), 4, length=length)
        loader = SequenceLoader([Source(episodes)], 4, CONFIG.chunk, 0, goals=goals)
        finished = Cloner(tmp_path / str(length), policy, training, loader).run()
        added.append(finished.get_parameter("net.mineclip_embed_linear.weight") * length)
    assert added[0].abs().max() > 1e-3
    assert torch.allclose(added[0], added[1], rtol=0.05, atol=1e-4)


def test_goals_for_a_policy_that_knows_none_are_refused(tmp_path: Path) -> None:
    episodes = [episode(200, 1)]
    loader = SequenceLoader([Source(episodes)], 4, CONFIG.chunk, 0, goals=with_goals(episodes))
    with pytest.raises(ValueError, match="knows no goals"):
        Cloner(tmp_path, Policy(CONFIG), RECIPES["debug"], loader).run()
