"""The acting agent: streams, resets, seeds, precision, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from prior.agent import PolicyAgent
from prior.config import preset
from prior.policy import Policy


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    made = Policy(preset("debug"))
    for parameter in made.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.data.mul_(3)
    return made


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (12, 36, 64, 3), dtype=np.uint8)


def test_the_likeliest_actions_are_the_policys_own(policy: Policy, frames: NDArray[np.uint8]) -> None:
    agent = PolicyAgent(policy, deterministic=True)
    chosen = [agent.joint([frame])[0][0] for frame in frames]
    small = torch.from_numpy(np.stack([agent._resize(frame) for frame in frames]))[None]
    with torch.no_grad():
        out, _ = policy(small, policy.empty_memory(1))
    assert chosen == out.buttons[0].argmax(-1).tolist()
    action = agent.act({"pov": frames[0]})
    assert set(action.to_env()) == set(agent.act({"pov": frames[1]}).to_env())


def test_streams_play_as_if_alone_and_are_reset_alone(policy: Policy, frames: NDArray[np.uint8]) -> None:
    both, alone = PolicyAgent(policy, streams=2, deterministic=True), PolicyAgent(policy, deterministic=True)
    for index in range(4):
        both.joint([frames[index], frames[index + 4]])
    both.reset([1])
    logprobs = []
    for index in range(4):
        together = both.joint([frames[index + 4], frames[index]])[0][1]
        single = alone.joint([frames[index]])[0][0]
        logprobs.append(together == single)
    assert all(logprobs)
    assert both.memory.valid.sum(1).tolist() == [8, 4]


def test_seeds_repeat_and_temperature_cools(policy: Policy, frames: NDArray[np.uint8]) -> None:
    def played(**settings: float) -> list[int]:
        agent = PolicyAgent(policy, **settings)  # type: ignore[arg-type]
        return [int(agent.joint([frame])[0][0]) for frame in frames]

    assert played(seed=1) == played(seed=1) != played(seed=2)
    likeliest = PolicyAgent(policy, deterministic=True)
    assert played(seed=1, temperature=1e-3) == [int(likeliest.joint([frame])[0][0]) for frame in frames]


def test_bfloat16_plays_nearly_the_same(frames: NDArray[np.uint8]) -> None:
    torch.manual_seed(0)
    policy = Policy(preset("debug"))
    exact = PolicyAgent(policy, deterministic=True)
    [exact.joint([frame]) for frame in frames]
    kept = exact.memory.layers[0][1].clone()
    rounded = PolicyAgent(policy, deterministic=True, precision="bfloat16")
    [rounded.joint([frame]) for frame in frames]
    assert rounded.memory.layers[0][1].dtype == torch.bfloat16
    torch.testing.assert_close(rounded.memory.layers[0][1].float(), kept, atol=0.15, rtol=0.05)


@pytest.mark.slow
def test_a_compiled_agent_plays_the_same(policy: Policy, frames: NDArray[np.uint8]) -> None:
    plain, compiled = PolicyAgent(policy, deterministic=True), PolicyAgent(policy, deterministic=True, compiled=True)
    assert [plain.joint([f]) for f in frames] == [compiled.joint([f]) for f in frames]


def test_what_is_not_a_frame_is_refused(policy: Policy, frames: NDArray[np.uint8]) -> None:
    agent = PolicyAgent(policy.float())
    with pytest.raises(ValueError, match="float64"):
        agent.act({"pov": frames[0] / 255})
    with pytest.raises(ValueError, match="got 2 frames for an agent of 1"):
        agent.act_many([frames[0], frames[1]])
    with pytest.raises(ValueError, match="temperature must be above 0"):
        PolicyAgent(policy, temperature=0)
