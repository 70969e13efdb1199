"""Heads: categorical actions and the value of a state (VPT: action_head.py, scaled_mse_head.py, normalize_ewma.py)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.nn.linear import Linear


class CategoricalHead(nn.Module):
    """(..., D) -> log-probabilities (..., *shape, choices). The temperature belongs to the model, in training too."""

    def __init__(self, hidden: int, shape: tuple[int, ...], choices: int, temperature: float) -> None:
        super().__init__()
        self.shape, self.choices, self.temperature = shape, choices, temperature
        self.linear_layer = Linear(hidden, math.prod(shape) * choices)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.linear_layer(x).reshape(*x.shape[:-1], *self.shape, self.choices)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return F.log_softmax(wide / self.temperature, dim=-1)


def sample(logprobs: Tensor, uniform: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Draw choices (...) from log-probabilities (..., choices) by the Gumbel trick, as the published agent does.

    uniform: numbers in [0, 1) of the same shape, drawn here if not given.
    """
    if uniform is None:
        uniform = torch.rand(logprobs.shape, dtype=logprobs.dtype, device=logprobs.device, generator=generator)
    uniform = torch.where(uniform == 1.0, 0.999, uniform)  # rounding may give 1, whose Gumbel would be infinite
    return torch.argmax(logprobs - torch.log(-torch.log(uniform)), dim=-1)


def chosen_logprob(logprobs: Tensor, choices: Tensor) -> Tensor:
    """Log-probability (...) of each choice (...), from log-probabilities (..., choices)."""
    return logprobs.gather(-1, choices[..., None]).squeeze(-1)


def entropy(logprobs: Tensor) -> Tensor:
    """(..., choices) -> (...), in nats."""
    return -(logprobs.exp() * logprobs).sum(-1)


def kl_divergence(q: Tensor, p: Tensor) -> Tensor:
    """KL(q || p) in nats of log-probabilities (..., choices) -> (...)."""
    return (q.exp() * (q - p)).sum(-1)


class ValueNormalizer(nn.Module):
    """Running mean and variance of returns, debiased, as an exponential moving average that ``update`` moves.

    The three numbers are parameters without gradient, not buffers, as in the published weights.
    """

    def __init__(self, decay: float = 0.99999) -> None:
        super().__init__()
        self.decay = decay
        self.running_mean = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.running_mean_sq = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.debiasing_term = nn.Parameter(torch.tensor(0.0), requires_grad=False)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, each (1,); the variance at least 0.01."""
        debias = self.debiasing_term.clamp(min=1e-5)
        mean = self.running_mean / debias
        return mean, (self.running_mean_sq / debias - mean**2).clamp(min=1e-2)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Count a batch of returns (B, T, 1) in; every batch weighs the same, whatever its size."""
        x = x.detach()
        keep, new = self.decay, 1.0 - self.decay
        self.running_mean.mul_(keep).add_(x.mean(dim=(0, 1)) * new)
        self.running_mean_sq.mul_(keep).add_((x**2).mean(dim=(0, 1)) * new)
        self.debiasing_term.mul_(keep).add_(new)

    def forward(self, x: Tensor) -> Tensor:
        """Returns -> normalised; moves the averages first in training mode, as the published one does."""
        if self.training:
            self.update(x)
        mean, variance = self.moments()
        return (x - mean) / variance.sqrt()

    def denormalize(self, x: Tensor) -> Tensor:
        """Normalised values -> returns."""
        mean, variance = self.moments()
        return x * variance.sqrt() + mean


class ValueHead(nn.Module):
    """(..., D) -> (..., 1), the value in normalised units; ``denormalize`` gives it in units of reward."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = Linear(hidden, 1)
        self.normalizer = ValueNormalizer()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x)
        return out

    def denormalize(self, x: Tensor) -> Tensor:
        return self.normalizer.denormalize(x)

    def loss(self, predicted: Tensor, returns: Tensor) -> Tensor:
        """Mean squared error in normalised units; moves the normaliser in training mode."""
        return F.mse_loss(predicted, self.normalizer(returns))
