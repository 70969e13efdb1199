"""The prior of STEVE-1: from a text's MineCLIP embedding to the embedding of a video in which the text comes true.

Lifshitz et al. 2023, "STEVE-1" (arXiv 2306.00937), section 3.2: a conditional variational autoencoder, in the place that the
prior of unCLIP has. Parameter names, sizes and sampling are the published ones, so that ``steve1_prior.pt`` fits.

Its published training adds the KL divergence summed over batch and units to the *mean* squared error, some 800 times less at
the start: units then pay more than they can ever win and carry nothing, and all samples for a text are one. Here both terms
are in nats a pair by default (:func:`prior_loss`), and :func:`active_units` says how many units carry something.

Shape suffixes: B pairs, G size of an embedding, Z latent size. Embeddings are MineCLIP's own, not normalised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.published_files import load_into, read_weights

GOAL_SIZE = 512
"""Numbers in a MineCLIP embedding, of text or video."""

LossKind = Literal["nats", "as_published"]


def _layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU(),
        nn.Linear(hidden, outputs),
    )  # fmt: skip


class GoalPrior(nn.Module):
    """See the module's docstring. The defaults are the published sizes."""

    def __init__(self, size: int = GOAL_SIZE, hidden: int = 512, latent: int = 512) -> None:
        super().__init__()
        self.size, self.latent = size, latent
        self.encoder = _layers(2 * size, hidden, 2 * latent)
        self.decoder = _layers(latent + size, hidden, size)

    def posterior(self, goals_BG: Tensor, texts_BG: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of videos and of texts that describe them -> the latent's mean and logarithmic variance, each (B, Z)."""
        mean, log_variance = self.encoder(torch.cat([goals_BG, texts_BG], -1)).chunk(2, -1)
        return mean, log_variance

    def decode(self, latents_BZ: Tensor, texts_BG: Tensor) -> Tensor:
        """-> goals (B, G)."""
        goals: Tensor = self.decoder(torch.cat([latents_BZ, texts_BG], -1))
        return goals

    def sample(
        self,
        texts: Tensor,
        *,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        deterministic: bool = False,
    ) -> Tensor:
        """A goal for each text; (..., G) -> (..., G). Several for each: ``sample(texts.expand(8, *texts.shape))``.

        noise: standard normal numbers (..., Z), drawn here if not given. deterministic: the goal at the latent's mean, 0; the
        published agent draws, so its goal for a text differs from run to run.
        """
        if texts.shape[-1] != self.size:
            raise ValueError(f"expected embeddings of {self.size} numbers, got a tensor of shape {tuple(texts.shape)}")
        shape = (*texts.shape[:-1], self.latent)
        if deterministic and (noise is not None or generator is not None):
            raise ValueError("deterministic=True takes the latent's mean; give it no noise and no generator")
        if deterministic:
            noise = texts.new_zeros(shape)
        elif noise is None:
            # Drawn where the generator is: a seed means the same goals on any device.
            where = texts.device if generator is None else generator.device
            noise = torch.randn(shape, generator=generator, dtype=texts.dtype, device=where).to(texts.device)
        elif noise.shape != shape:
            raise ValueError(f"expected noise of shape {shape} for these texts, got {tuple(noise.shape)}")
        return self.decode(noise, texts)

    def best_of(
        self, count: int, texts_BG: Tensor, wanted_BG: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Of ``count`` goals for each text, the one nearest in angle to what is wanted (by default the text itself); (B, G)."""
        if count < 1:
            raise ValueError(f"expected at least 1 goal for each text, got {count}")
        goals = self.sample(texts_BG.expand(count, *texts_BG.shape), generator=generator)
        near = F.cosine_similarity(goals, texts_BG if wanted_BG is None else wanted_BG, dim=-1)
        return goals.gather(0, near.argmax(0)[None, ..., None].expand(1, *goals.shape[1:]))[0]


def load_goal_prior(path: Path | str, *, device: str = "cpu") -> GoalPrior:
    """The prior of a file with the published parameter names (``steve1_prior.pt``, or safetensors), of any size.

    Raises ValueError, listing them, where tensors are missing, unexpected or of another shape.
    """
    tensors = read_weights(path)
    sizes = ("decoder.6.weight", 0), ("encoder.0.weight", 0), ("encoder.6.weight", 0)
    missing = [name for name, _ in sizes if name not in tensors or tensors[name].ndim != 2]
    if missing:
        raise ValueError(
            f"{path} holds no prior of STEVE-1: expected 20 tensors, encoder.* and decoder.*, and among them the matrices "
            f"{', '.join(missing)}; found {len(tensors)} tensors, such as {', '.join(sorted(tensors)[:3])}"
        )
    size, hidden, twice = (tensors[name].shape[axis] for name, axis in sizes)
    with torch.device("meta"):
        prior = GoalPrior(size, hidden, twice // 2)
    load_into(prior, tensors, path)
    return prior.to(device).eval()


@dataclass(frozen=True)
class PriorLoss:
    """total: what to minimise. kl: of the posterior from the prior, nats a pair. error: mean square a number of the goal."""

    total: Tensor
    kl: Tensor
    error: Tensor


def prior_loss(
    prior: GoalPrior,
    goals_BG: Tensor,
    texts_BG: Tensor,
    *,
    kind: LossKind = "nats",
    beta: float = 1.0,
    noise: Tensor | None = None,
) -> PriorLoss:
    """The loss of a batch of pairs. beta: weight of the KL. noise: standard normal (B, Z), drawn here if not given.

    ``nats``: minus the evidence bound in nats a pair. The goal's numbers are taken as normal about what is decoded, their
    variance as the batch's own mean squared error (the optimal one: Rybkin et al. 2021, arXiv 2006.13202), so that the
    balance does not depend on how large embeddings are. ``as_published``: beta times the KL, summed over the batch, and the
    mean squared error.
    """
    mean, log_variance = prior.posterior(goals_BG, texts_BG)
    if noise is None:
        noise = torch.randn_like(mean)
    error = F.mse_loss(prior.decode(mean + (0.5 * log_variance).exp() * noise, texts_BG), goals_BG)
    kl_B = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
    if kind == "as_published":
        total = beta * kl_B.sum() + error
    elif kind == "nats":
        # The least variance keeps a batch that is decoded exactly from an infinite likelihood.
        total = 0.5 * prior.size * (torch.log(2 * math.pi * error.clamp(min=1e-8)) + 1) + beta * kl_B.mean()
    else:
        raise ValueError(f"kind is {kind!r}; expected 'nats' or 'as_published'")
    return PriorLoss(total, kl_B.mean(), error)


def active_units(means_NZ: Tensor, least: float = 0.01) -> int:
    """How many units carry something: those whose posterior mean varies over N pairs by more than ``least``.

    Burda et al. 2016 (arXiv 1509.00519), section 5.2. None means that the prior has collapsed: every sample for a text is
    the same goal.
    """
    if len(means_NZ) < 2:
        raise ValueError(f"expected posterior means of at least 2 pairs, got {len(means_NZ)}")
    return int((means_NZ.var(0, correction=0) > least).sum())
