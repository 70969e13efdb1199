"""Categorical action heads: linear, divided by the model's temperature, log-softmax in float32 (VPT's action_head.py)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CategoricalHead(nn.Module):
    """(..., D) -> log-probabilities (..., *shape, choices). The temperature belongs to the model, in training too."""

    def __init__(self, hidden: int, shape: tuple[int, ...], choices: int, temperature: float) -> None:
        super().__init__()
        self.shape, self.choices, self.temperature = shape, choices, temperature
        self.linear_layer = nn.Linear(hidden, math.prod(shape) * choices)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.linear_layer(x).reshape(*x.shape[:-1], *self.shape, self.choices)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return F.log_softmax(wide / self.temperature, dim=-1)
