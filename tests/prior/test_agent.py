"""The acting agent: streams, resets, seeds, precision, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data.frame_inputs import Eye, FrameInputs, InputMaker
from prior.agent import PolicyAgent
from prior.config import preset
from prior.policy import Policy


def made(name: str) -> Policy:
    torch.manual_seed(0)
    policy = Policy(preset(name))
    for parameter in policy.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.data.mul_(3)
    return policy


@pytest.fixture(scope="module")
def policy() -> Policy:
    return made("debug")


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (12, 36, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["debug", "debug_motion"])
def test_the_likeliest_actions_are_the_policys_own(name: str, frames: NDArray[np.uint8]) -> None:
    """Frame by frame, the agent does what the policy says of the whole video as training sees it."""
    policy = made(name)
    agent, shape = PolicyAgent(policy, deterministic=True), policy.config.inputs
    agent.joint([frames[5]])
    agent.reset()
    chosen = [agent.joint([frame])[0][0] for frame in frames]
    rows, first = np.arange(len(frames)), np.arange(len(frames)) == 0
    views = FrameInputs.join(list(InputMaker(shape, block=5).stream(frames))).views(rows, first)
    images, motion = torch.from_numpy(views.images)[None], torch.from_numpy(views.motion)[None]
    with torch.no_grad():
        out, _ = policy(images, policy.empty_memory(1), motion_BTChw=motion)
    assert chosen == out.buttons[0].argmax(-1).tolist()
    action = agent.act({"pov": frames[0]})
    assert set(action.to_env()) == set(agent.act({"pov": frames[1]}).to_env())


def test_a_fovea_is_the_middle_of_the_picture_at_full_size() -> None:
    shape = preset("debug_motion").inputs
    assert shape.fovea and shape.flow_size == (72, 128) and shape.image_size == (36, 64)
    picture = np.random.default_rng(1).integers(0, 256, (72, 128, 3), dtype=np.uint8)
    seen = Eye(shape).look(picture).images[0]
    np.testing.assert_array_equal(seen[..., 3:6], picture[18:54, 32:96])
    np.testing.assert_array_equal(seen[..., :3], Eye(replace(shape, fovea=False)).look(picture).images[0, ..., :3])
    assert str(replace(shape, fovea=False)) == str(shape).replace(", fovea=True", ""), (
        "names of caches without one stay"
    )
    with pytest.raises(ValueError, match="which is less"):
        replace(shape, image_size=(90, 160))


def test_a_policy_that_reads_motion_sees_the_past_alone(frames: NDArray[np.uint8]) -> None:
    inputs = FrameInputs.join(list(InputMaker(preset("debug_motion").inputs).stream(frames)))
    rows, first = np.array([2, 3, 5, 9]), np.array([True, False, False, False])
    views = inputs.views(rows, first)
    np.testing.assert_array_equal(views.images[..., :6], inputs.images[rows])
    np.testing.assert_array_equal(
        views.images[..., 6:], inputs.images[[2, 2, 4, 8]]
    )  # dropped frames are seen as the past
    np.testing.assert_array_equal(
        views.motion, inputs.motion[[2, 2, 4, 8]] * np.array([0, 1, 1, 1])[:, None, None, None]
    )
    with pytest.raises(ValueError, match=r"reads motion: expected images \(N, H, W, 12\)"):
        made("debug_motion").frame_features(torch.zeros(1, 36, 64, 3, dtype=torch.uint8))


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


def test_min_p_leaves_out_what_is_hardly_ever_done(policy: Policy, frames: NDArray[np.uint8]) -> None:
    """One action takes most of the probability; of the rest only those above the share are ever drawn."""
    agent = PolicyAgent(policy, min_p=0.1, seed=0)
    likelihoods = torch.tensor([0.9, 0.08, 0.01, 0.01]).log().expand(2000, 4)
    assert set(agent._choose(likelihoods).tolist()) == {0}
    agent.min_p = 0.05
    drawn = agent._choose(likelihoods)
    assert set(drawn.tolist()) == {0, 1} and 0.04 < (drawn == 1).mean() < 0.12
    agent.min_p = 0.0
    assert set(agent._choose(likelihoods).tolist()) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="min_p"):
        PolicyAgent(policy, min_p=2)
    assert len({int(PolicyAgent(policy, min_p=1.0, seed=s).joint([frames[0]])[0][0]) for s in range(4)}) == 1


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
