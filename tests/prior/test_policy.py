"""The policy's memory: how an episode is cut into calls, who shares a batch, and where episodes begin must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.joint_actions import JointActions
from prior.config import preset
from prior.nn.heads import ValueNormalizer, sample
from prior.nn.memory import Memory
from prior.policy import Policy, action_logprob, as_published

FRAMES = 20


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    made = Policy(preset("debug")).double().eval()
    for parameter in made.parameters():  # far from the small initial values, so that memory matters
        if parameter.requires_grad and parameter.ndim > 1:
            parameter.data.mul_(3)
    return made


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, FRAMES, 32, 32, 3), dtype=np.uint8))


def play(policy: Policy, images: torch.Tensor, first: torch.Tensor, chunks: list[int]) -> tuple[torch.Tensor, Memory]:
    memory, out, start = policy.empty_memory(len(images)), [], 0
    with torch.no_grad():
        for length in chunks:
            part = slice(start, start + length)
            output, memory = policy(images[:, part], memory, first[:, part])
            out.append(torch.cat([output.buttons, output.camera, output.value], -1))
            start += length
    return torch.cat(out, 1), memory


@pytest.mark.parametrize("chunks", [[1] * FRAMES, [8, 8, 4], [3, 9, 1, 7], [19, 1]])
def test_the_numbers_do_not_depend_on_how_an_episode_is_cut(
    policy: Policy, images: torch.Tensor, chunks: list[int]
) -> None:
    first = torch.zeros(3, FRAMES, dtype=torch.bool)
    first[0, 5] = first[1, 8] = first[1, 9] = first[2, 0] = first[2, 19] = True  # also in the middle of a call
    whole, memory = play(policy, images, first, [FRAMES])
    cut, again = play(policy, images, first, chunks)
    torch.testing.assert_close(cut, whole, atol=1e-10, rtol=0)
    assert torch.equal(memory.valid, again.valid)
    torch.testing.assert_close(memory.layers, again.layers, atol=1e-10, rtol=0)


def test_an_episode_sees_nothing_of_the_one_before(policy: Policy, images: torch.Tensor) -> None:
    first = torch.zeros(3, FRAMES, dtype=torch.bool)
    first[:, 6] = True
    joined, _ = play(policy, images, first, [FRAMES])
    alone, _ = play(policy, images[:, 6:], first[:, 6:], [FRAMES - 6])
    torch.testing.assert_close(joined[:, 6:], alone, atol=1e-10, rtol=0)
    without, _ = play(policy, images, torch.zeros_like(first), [FRAMES])
    assert (joined[:, 6] - without[:, 6]).abs().max() > 1e-3


def test_only_the_first_column_counts_as_published(policy: Policy, images: torch.Tensor) -> None:
    first = torch.zeros(3, FRAMES, dtype=torch.bool)
    first[:, 6] = True
    ignored, _ = play(policy, images, as_published(first), [FRAMES])
    without, _ = play(policy, images, torch.zeros_like(first), [FRAMES])
    assert torch.equal(ignored, without)


def test_streams_of_a_batch_do_not_touch_each_other(policy: Policy, images: torch.Tensor) -> None:
    first = torch.zeros(3, FRAMES, dtype=torch.bool)
    first[1, 7] = True
    together, _ = play(policy, images, first, [9, 11])
    for stream in range(3):
        alone, _ = play(policy, images[stream : stream + 1], first[stream : stream + 1], [9, 11])
        torch.testing.assert_close(together[stream : stream + 1], alone, atol=1e-10, rtol=0)


def test_each_frame_sees_itself_and_memory_minus_one_earlier_ones(policy: Policy, images: torch.Tensor) -> None:
    first = torch.zeros(1, FRAMES, dtype=torch.bool)
    base, _ = play(policy, images[:1], first, [FRAMES])
    other = images[:1].clone()
    other[:, 4] = 255 - other[:, 4]
    changed, _ = play(policy, other, first, [FRAMES])
    touched = ((base - changed).abs().amax((0, 2)) > 1e-9).nonzero().flatten().tolist()
    assert touched == list(range(4, 4 + policy.config.memory))  # one layer: no frame reaches further


def test_the_camera_counts_always_as_published_or_where_it_is_free(policy: Policy, images: torch.Tensor) -> None:
    with torch.no_grad():
        out, _ = policy(images[:, :3], policy.empty_memory(3))
    buttons, camera = torch.tensor([0, 1, 8640]).expand(3, 3), torch.tensor([60, 7, 60]).expand(3, 3)
    free = torch.from_numpy(JointActions().camera_counts(buttons.numpy()))
    assert free[0].tolist() == [False, True, False]
    always, mended = action_logprob(out, buttons, camera), action_logprob(out, buttons, camera, free)
    apart = (always - mended).exp()
    torch.testing.assert_close(apart[:, 0], out.camera[:, 0, 60].exp())
    torch.testing.assert_close(apart[:, 1], torch.ones(3, dtype=apart.dtype))


def test_gradients_stop_at_a_detached_memory(policy: Policy, images: torch.Tensor) -> None:
    memory = policy.empty_memory(3)
    _, memory = policy(images[:, :4], memory)
    assert memory.layers[0][0].requires_grad and not memory.detach().layers[0][0].requires_grad


def test_gumbel_draws_follow_the_probabilities_and_survive_a_uniform_of_one() -> None:
    p = torch.tensor([0.1, 0.2, 0.7])
    drawn = sample(p.log().expand(20_000, 3), generator=torch.Generator().manual_seed(0))
    assert torch.bincount(drawn) / 20_000 == pytest.approx(p, abs=0.02)
    assert sample(p.log(), torch.tensor([1.0, 0.5, 0.5])) == 0


def test_the_value_normaliser_learns_mean_and_deviation() -> None:
    torch.manual_seed(0)
    normalizer = ValueNormalizer(decay=0.9)
    for _ in range(100):
        normalizer(5 + 3 * torch.randn(64, 8, 1))
    mean, variance = normalizer.moments()
    assert mean.item() == pytest.approx(5, abs=0.4) and variance.item() == pytest.approx(9, abs=1.5)
    normalizer.eval()
    x = torch.randn(4, 2, 1)
    torch.testing.assert_close(normalizer.denormalize(normalizer(x)), x)
