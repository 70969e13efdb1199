"""Training of the prior that makes goals of texts: on clips and texts that tell what happens in them.

Lifshitz et al. 2023, "STEVE-1" (arXiv 2306.00937), section 3.2; the loss is :func:`prior.text.cvae.prior_loss`. A few thousand
pairs and a small network: seconds on a CPU, so nothing is resumed. The weights that judge best on pairs held back are kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data.json_config import JsonConfig
from prior.text.cvae import GoalPrior, LossKind, active_units, prior_loss


@dataclass(frozen=True)
class GoalPriorTraining(JsonConfig):
    """The published recipe is batch 256, 50 epochs, learning rate 1e-4, decay 0.01, loss ``as_published``."""

    epochs: int = 50
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    hidden: int = 512
    latent: int = 64
    beta: float = 1.0
    loss: LossKind = "nats"
    seed: int = 0


@dataclass(frozen=True)
class TextGoals:
    """Pairs: texts float32 (N, G), embeddings of texts; goals float32 (N, G), of clips in which they come true."""

    texts: NDArray[np.float32]
    goals: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.texts.ndim != 2 or self.texts.shape != self.goals.shape or not len(self.texts):
            raise ValueError(
                f"expected as many embeddings of texts as of clips, of one size, got {self.texts.shape} and "
                f"{self.goals.shape}"
            )


def train_goal_prior(
    pairs: TextGoals,
    held: TextGoals | None,
    training: GoalPriorTraining,
    report: Callable[[int, dict[str, float]], None] = lambda *_: None,
) -> tuple[GoalPrior, dict[str, float]]:
    """The prior and how it judges on ``held``: ``loss``, ``kl`` and ``error`` of :func:`prior_loss`, ``active_units``,
    ``cosine`` of goals at the latent's mean with the clips', and what a prior must beat to be of use: ``cosine_of_text``,
    that of the texts' embeddings themselves, and ``cosine_of_others``, of the same goals with any clips. Where nothing is
    held back it is judged on ``pairs``, and the last weights are kept.

    Raises ValueError where the loss is not finite after an epoch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        prior = GoalPrior(pairs.texts.shape[1], training.hidden, training.latent)
        texts, goals = torch.from_numpy(pairs.texts), torch.from_numpy(pairs.goals)
        batch = min(training.batch, len(texts))
        optimizer = torch.optim.AdamW(prior.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
        judges = pairs if held is None else held
        kept, found = copy.deepcopy(prior), _judge(prior, judges, training)
        for epoch in range(1, training.epochs + 1):
            prior.train()
            for rows in torch.randperm(len(texts))[: len(texts) // batch * batch].view(-1, batch):
                optimizer.zero_grad()
                loss = prior_loss(prior, goals[rows], texts[rows], kind=training.loss, beta=training.beta)
                loss.total.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            judged = _judge(prior.eval(), judges, training)
            if not math.isfinite(judged["loss"]):
                raise ValueError(
                    f"the prior from texts to goals: after epoch {epoch} of {training.epochs} its loss was {judged['loss']}, "
                    f"expected a number. Are embeddings finite? Is the learning rate {training.learning_rate:g} too high?"
                )
            if held is None or judged["loss"] < found["loss"]:
                kept, found = copy.deepcopy(prior), judged
            report(epoch, judged)
    return kept.eval(), found


@torch.no_grad()
def _judge(prior: GoalPrior, held: TextGoals, training: GoalPriorTraining) -> dict[str, float]:
    texts, goals = torch.from_numpy(held.texts), torch.from_numpy(held.goals)
    noise = torch.randn(len(texts), prior.latent, generator=torch.Generator().manual_seed(0))
    loss = prior_loss(prior, goals, texts, kind=training.loss, beta=training.beta, noise=noise)

    def near(made: Tensor) -> float:
        return float(F.cosine_similarity(made, goals, dim=-1).mean())

    asked = prior.sample(texts, deterministic=True)
    others = F.normalize(asked, dim=-1).mean(0) @ F.normalize(goals, dim=-1).mean(0)
    return {
        "loss": float(loss.total),
        "kl": float(loss.kl),
        "error": float(loss.error),
        "active_units": float(active_units(prior.posterior(goals, texts)[0])) if len(texts) > 1 else 0.0,
        "cosine": near(asked),
        "cosine_of_text": near(texts),
        "cosine_of_others": float(others),
    }
