"""Policies with goals: how they are made and loaded, and how the guided agent plays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from prior.agent import PolicyAgent
from prior.checkpoint import save_policy, save_published_policy
from prior.config import preset
from prior.policy import Policy
from prior.text.agent import GuidedAgent
from prior.text.policy import GOAL_LAYER, PREFIXES, GoalPolicy, guided, load_goal_policy

SIZE = 16


def plain(name: str = "debug") -> Policy:
    torch.manual_seed(0)
    policy = Policy(preset(name)).eval()
    for parameter in policy.parameters():  # far from the small initial values, so that memory and goals matter
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.data.mul_(3)
    return policy


def made(name: str = "debug") -> GoalPolicy:
    return GoalPolicy.of(plain(name), SIZE, start="as_published")


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (12, 36, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def goals() -> Tensor:
    return 3 * torch.randn(2, SIZE, generator=torch.Generator().manual_seed(0))


def spy(agent: GuidedAgent) -> list[Tensor]:
    """What the agent draws from, camera and then buttons, as it plays."""
    seen: list[Tensor] = []
    choose = agent._choose

    def choose_and_tell(logits: Tensor) -> NDArray[np.int64]:
        seen.append(logits.clone())
        return choose(logits)

    agent._choose = choose_and_tell  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("name", ["debug", "debug_motion"])
def test_a_new_policy_plays_as_the_one_it_was_made_from(name: str, frames: NDArray[np.uint8], goals: Tensor) -> None:
    policy = plain(name)
    agent, guided_agent = PolicyAgent(policy, seed=1), GuidedAgent(GoalPolicy.of(policy, SIZE), seed=1, scale=2)
    guided_agent.set_goal(goals[0])
    assert [agent.joint([f]) for f in frames] == [guided_agent.joint([f]) for f in frames]


def test_the_two_policies_share_no_weights() -> None:
    policy = plain()
    before = policy.net.final_ln.weight.clone()
    GoalPolicy.of(policy, SIZE).net.final_ln.weight.data.add_(1)
    assert torch.equal(policy.net.final_ln.weight, before)


@pytest.mark.parametrize("name", ["debug", "debug_motion"])
def test_guidance_is_that_of_two_policies_that_play_alone(name: str, frames: NDArray[np.uint8], goals: Tensor) -> None:
    """Each stream has its own memory, and a goal may change without a reset."""
    policy = made(name)
    agents = [GuidedAgent(policy, deterministic=True, scale=scale) for scale in (0, 0, 2.5)]
    told = [spy(agent) for agent in agents]
    for step, frame in enumerate(frames):
        for agent in (agents[0], agents[2]):
            agent.set_goal(goals[step // 6])
        for agent in agents:
            agent.joint([frame])
    for knows, other, both in zip(*told, strict=True):
        torch.testing.assert_close(both, guided(knows, other, 2.5), atol=1e-3, rtol=1e-4)
    assert max((knows - other).abs().max() for knows, other in zip(*told[:2], strict=True)) > 0.1


def test_the_trunk_sees_each_frame_once(frames: NDArray[np.uint8]) -> None:
    policy, counted = made(), []
    policy.net.img_process.register_forward_pre_hook(lambda _, inputs: counted.append(len(inputs[0])))
    agent = GuidedAgent(policy, streams=2)
    for frame in frames[:3]:
        agent.joint([frame, frame])
    assert counted == [2, 2, 2] and len(agent.memory) == 4


def test_streams_have_their_own_goals_and_are_reset_alone(frames: NDArray[np.uint8], goals: Tensor) -> None:
    policy = made()
    both = GuidedAgent(policy, streams=2, deterministic=True)
    both.set_goal(goals[0], stream=0)
    both.set_goal(goals[1], stream=1)
    told = spy(both)
    for index in range(4):
        both.joint([frames[index], frames[index + 4]])
    both.reset([1])
    assert both.memory.valid.sum(1).tolist() == [4, 0, 4, 0]
    told.clear()
    both.joint([frames[8], frames[9]])
    alone = GuidedAgent(policy, deterministic=True)
    alone.set_goal(goals[1].numpy()[None])
    seen = spy(alone)
    alone.joint([frames[9]])
    for together, single in zip(told, seen, strict=True):
        torch.testing.assert_close(together[1:], single, atol=1e-3, rtol=1e-4)
    both.reset()
    assert not both.memory.valid.any()


def test_a_goal_for_each_frame_or_one_for_all(goals: Tensor) -> None:
    policy = made()
    images = torch.randint(0, 256, (2, 5, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        one, _ = policy(images, policy.empty_memory(2), goals_BTG=goals[:, None])
        each, _ = policy(images, policy.empty_memory(2), goals_BTG=goals[:, None].expand(2, 5, SIZE))
        none, _ = policy(images, policy.empty_memory(2))
        zero, _ = policy(images, policy.empty_memory(2), goals_BTG=torch.zeros(2, 5, SIZE))
    torch.testing.assert_close(one.buttons, each.buttons)
    torch.testing.assert_close(none.buttons, zero.buttons)
    assert (one.buttons - none.buttons).abs().max() > 0.1
    with pytest.raises(ValueError, match=r"expected goals \(streams, frames, 16\).*got \(2, 16\)"):
        policy.with_goals(torch.zeros(2, 5, 32), goals)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_published_weights_load_under_every_prefix(prefix: str, tmp_path: Path) -> None:
    policy = made()
    save_published_policy(tmp_path / "2x.model", policy)
    tensors = torch.load(tmp_path / "2x.weights", weights_only=True)
    torch.save({prefix + name: tensor for name, tensor in tensors.items()}, tmp_path / "steve1.weights")
    again = load_goal_policy(tmp_path / "2x.model", tmp_path / "steve1.weights")
    for name, tensor in policy.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    save_policy(tmp_path / "ours", policy)
    assert load_goal_policy(tmp_path / "ours").goal_size == SIZE


def test_what_does_not_fit_is_refused_and_plain_policies_are_taken_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.model"
    save_published_policy(path, plain())
    with pytest.raises(ValueError, match=rf"missing from the file \(2\):\n +{GOAL_LAYER}bias"):
        load_goal_policy(path)
    begun = load_goal_policy(path, plain="unchanged")
    assert not begun.state_dict()[f"{GOAL_LAYER}weight"].any() and not any(p.is_meta for p in begun.parameters())
    tensors = torch.load(tmp_path / "a.weights", weights_only=True)
    torch.save({f"agent.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "odd.weights")
    with pytest.raises(ValueError, match=r"holds no policy.*'module\.policy\.'.*such as agent\."):
        load_goal_policy(path, tmp_path / "odd.weights")
    torch.save({f"policy.{n}": t for n, t in tensors.items()} | {"step": torch.zeros(1)}, tmp_path / "more.weights")
    with pytest.raises(ValueError, match=r"all names to begin with 'policy\.', found step"):
        load_goal_policy(path, tmp_path / "more.weights")
    torch.save({n: t for n, t in tensors.items() if "final_ln.b" not in n}, tmp_path / "less.weights")
    with pytest.raises(ValueError, match=r"net\.final_ln\.bias"):
        load_goal_policy(path, tmp_path / "less.weights", plain="unchanged")


def test_an_agent_refuses_what_is_no_goal(frames: NDArray[np.uint8]) -> None:
    agent = GuidedAgent(made())
    with pytest.raises(ValueError, match=r"a goal of 16 numbers, got one of shape \(512,\)"):
        agent.set_goal(torch.zeros(512))
    with pytest.raises(ValueError, match="at least 0, got -1"):
        GuidedAgent(made(), scale=-1)
    with pytest.raises(ValueError, match="got 2 frames for an agent of 1"):
        agent.joint([frames[0], frames[1]])
    with pytest.raises(ValueError, match="'unchanged' or 'as_published'"):
        GoalPolicy.of(plain(), SIZE, start="zero")  # type: ignore[arg-type]
