"""The published recipe by which STEVE-1 was made of VPT's policy: what decays, how fast it learns, and what it minimises.

Lifshitz et al. 2023 (arXiv 2306.00937), and the script released with it: chunks of 64 frames with the memory carried and
detached, AdamW, gradients clipped to :data:`MOST_GRADIENT`. Its loss adds up time, so that gradients are always clipped. Its
four-fold accumulation is of no use to copy: every step takes the fourth batch alone, at a quarter.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from prior.policy import PolicyOutput, action_logprob

LEARNING_RATE, WEIGHT_DECAY, MOST_GRADIENT = 4e-5, 0.039428, 5.0


def parameter_groups(policy: nn.Module, weight_decay: float = WEIGHT_DECAY) -> list[dict[str, Any]]:
    """For AdamW, as published: everything decays but biases and the gains of layer norms.

    So the gains of group norms and the attention's bias table do; prior/training.py spares these, too.
    """
    spared = {
        id(parameter)
        for module in policy.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, nn.LayerNorm)
    }
    parameters = list(policy.parameters())
    return [
        {"params": [p for p in parameters if id(p) not in spared], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) in spared], "weight_decay": 0.0},
    ]


def learning_rate(
    frames: float, peak: float = LEARNING_RATE, warmup: float = 10e6, planned: float = 100e6, stretch: float = 1.1
) -> float:
    """The rate after so many frames: up in a line over ``warmup``, then a half cosine to 0 at ``stretch * planned``."""
    end = stretch * planned
    if not 0 < warmup < end:
        raise ValueError(f"expected a warm-up above 0 that ends before frame {end:.0f}, got {warmup:.0f} frames")
    if frames < warmup:
        return peak * frames / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * min((frames - warmup) / (end - warmup), 1.0)))


def summed_loss(output: PolicyOutput, buttons_BT: Tensor, camera_BT: Tensor) -> Tensor:
    """The published loss of a chunk, in nats: summed over time, the mean over streams; the camera counts in every frame."""
    return -action_logprob(output, buttons_BT, camera_BT).sum(1).mean()
