"""What the trainings of policies and of inverse dynamics models share: learning rate, averaged weights, saved state."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.files import atomic_path


def learning_rate(peak: float, step: int, steps: int, warmup: float) -> float:
    """Rises over the first ``warmup`` share of the steps, then falls in a straight line to zero (VPT, appendix D)."""
    done = step / steps
    rising = min(1.0, (step + 1) / max(warmup * steps, 1))
    return peak * rising * min(1.0, (1 - done) / (1 - warmup))


def decays(name: str, weight: Tensor) -> bool:
    """Whether a policy's weight decays: matrices and convolutions do; biases, norms and the attention's bias table do not."""
    return weight.ndim > 1 and not name.endswith(".b_nd")


class MovingAverage:
    """An exponential moving average of weights. decay: such as 0.99; 0 keeps none."""

    def __init__(self, weights: Iterable[Tensor], decay: float) -> None:
        self.decay = decay
        self.values = [weight.detach().clone() for weight in weights] if decay else []

    @torch.no_grad()
    def update(self, weights: list[Tensor], step: int) -> None:
        """After a step, the first being number 0."""
        if self.decay:
            # Early on, the average follows closely; otherwise it would remember the random start.
            torch._foreach_lerp_(self.values, weights, 1 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def copy_to(self, weights: Iterable[Tensor]) -> None:
        """Give the averages to the same weights of another copy of the network; nothing if none are kept."""
        if self.decay:
            for weight, value in zip(weights, self.values, strict=True):
                weight.copy_(value)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write what a training goes on from; what was there before stays until the new one is whole.

    Raises OSError, naming ``path``, where it cannot be written.
    """
    with atomic_path(path) as part, part.open("wb") as stream:
        try:
            torch.save(state, stream)
        except RuntimeError as error:
            # Where the disk is full, torch's writer ends by complaining of its own position in the file.
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
