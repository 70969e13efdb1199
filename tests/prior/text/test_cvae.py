"""The prior from texts to goals: sampling, what training by either loss makes of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from prior.text.cvae import GoalPrior, active_units, load_goal_prior, prior_loss


@pytest.fixture
def prior() -> GoalPrior:
    torch.manual_seed(0)
    return GoalPrior(8, 32, 4)


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """Four texts, each true of two quite different videos."""
    rng = torch.Generator().manual_seed(0)
    texts, ways = torch.randn(4, 8, generator=rng), torch.randn(2, 8, generator=rng) * 2
    text, way = torch.randint(4, (count,), generator=rng), torch.randint(2, (count,), generator=rng)
    return texts[text] + ways[way] + 0.05 * torch.randn(count, 8, generator=rng), texts[text]


@pytest.mark.parametrize(("kind", "alive"), [("nats", True), ("as_published", False)])
def test_one_scale_keeps_units_alive_and_the_published_sum_kills_them(prior: GoalPrior, kind: str, alive: bool) -> None:
    goals, texts = pairs(256)
    optimizer = torch.optim.AdamW(prior.parameters(), lr=3e-3)
    torch.manual_seed(1)
    for _ in range(150):
        optimizer.zero_grad()
        prior_loss(prior, goals, texts, kind=kind).total.backward()  # type: ignore[arg-type]
        optimizer.step()
    with torch.no_grad():
        assert (active_units(prior.posterior(goals, texts)[0]) > 0) == alive
        drawn = prior.sample(texts[:1].expand(64, -1), generator=torch.Generator().manual_seed(0))
    assert (drawn.std(0).max() > 0.5) == alive  # either video is drawn for the same text


def test_samples_repeat_with_their_noise_and_the_mean_needs_none(prior: GoalPrior) -> None:
    texts, noise = torch.randn(3, 8), torch.randn(3, 4)
    assert torch.equal(prior.sample(texts, noise=noise), prior.decode(noise, texts))
    assert torch.equal(prior.sample(texts, deterministic=True), prior.decode(torch.zeros(3, 4), texts))
    one, same, other = (prior.sample(texts, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert prior.sample(texts.expand(5, 3, 8)).shape == (5, 3, 8)


def test_the_best_of_many_is_the_nearest_in_angle(prior: GoalPrior) -> None:
    texts, wanted = torch.randn(3, 8), torch.randn(3, 8)
    best = prior.best_of(16, texts, wanted, torch.Generator().manual_seed(3))
    all_of_them = prior.sample(texts.expand(16, 3, 8), generator=torch.Generator().manual_seed(3))
    near = F.cosine_similarity(all_of_them, wanted, dim=-1)
    torch.testing.assert_close(F.cosine_similarity(best, wanted, dim=-1), near.amax(0))


def test_the_two_losses_are_of_the_same_parts(prior: GoalPrior) -> None:
    (goals, texts), noise = pairs(6), torch.randn(6, 4)
    ours = prior_loss(prior, goals, texts, noise=noise, beta=0)
    published = prior_loss(prior, goals, texts, noise=noise, kind="as_published", beta=0.5)
    torch.testing.assert_close(published.total, 0.5 * 6 * ours.kl + ours.error)
    scale = ours.error.sqrt().detach()  # the likelihood of each pair, written out
    likelihood = torch.distributions.Normal(0.0, scale).log_prob(scale) * 8
    torch.testing.assert_close(ours.total, -likelihood)


def test_weights_load_strictly(prior: GoalPrior, tmp_path: Path) -> None:
    tensors = prior.state_dict()
    assert len(tensors) == 20 and sum(p.numel() for p in GoalPrior().parameters()) == 2_366_976
    torch.save(tensors, tmp_path / "prior.pt")
    again, texts = load_goal_prior(tmp_path / "prior.pt"), torch.randn(2, 8)
    assert torch.equal(again.sample(texts, deterministic=True), prior.sample(texts, deterministic=True))
    save_file({n: t for n, t in tensors.items() if n != "decoder.4.bias"}, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match=r"missing from the file.*\n.*decoder\.4\.bias"):
        load_goal_prior(tmp_path / "part.safetensors")
    torch.save({"net.final_ln.weight": torch.ones(3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"holds no prior of STEVE-1.*net\.final_ln"):
        load_goal_prior(tmp_path / "other.pt")


def test_what_does_not_fit_is_refused(prior: GoalPrior) -> None:
    texts = torch.randn(2, 8)
    with pytest.raises(ValueError, match=r"embeddings of 8 numbers, got.*\(2, 7\)"):
        prior.sample(texts[:, :7])
    with pytest.raises(ValueError, match=r"noise of shape \(2, 4\).*got \(2, 3\)"):
        prior.sample(texts, noise=torch.zeros(2, 3))
    with pytest.raises(ValueError, match="takes the latent's mean"):
        prior.sample(texts, deterministic=True, noise=torch.zeros(2, 4))
    with pytest.raises(ValueError, match="at least 1 goal"):
        prior.best_of(0, texts)
    with pytest.raises(ValueError, match="'nats' or 'as_published'"):
        prior_loss(prior, texts, texts, kind="other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 2 pairs"):
        active_units(torch.zeros(1, 4))
