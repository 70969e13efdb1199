"""Weights and frames of the reference outputs: made from seeds, not stored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def weight(name: str, shape: tuple[int, ...], seed: int, index: int) -> NDArray[np.float32]:
    """The weight of a name; index: its place among the sorted names."""
    z = np.random.default_rng([seed, index]).standard_normal(shape)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    if name.startswith("value_head.normalizer."):
        last = name.rsplit(".", 1)[1]
        z = {"running_mean": 0.3 * z, "running_mean_sq": 2 + np.abs(z), "debiasing_term": 0.75 + 0.05 * z}[last]
    elif any(part in name for part in (".norm.", ".n.", ".pre_r_ln.", ".final_ln.")):
        z = 1 + 0.1 * z if name.endswith("weight") else 0.1 * z
    elif name.endswith(".b_nd"):
        z = 0.3 * z
    elif name.endswith(".bias"):
        z = 0.1 * z
    else:
        gain = 4 if ".q_layer." in name or ".k_layer." in name else 6 if name.startswith("pi_head.") else 1
        z = gain * z / math.sqrt(fan_in)
    return np.array(z, dtype=np.float32)


def frames(batch: int, count: int, seed: int) -> NDArray[np.uint8]:
    """uint8 (B, T, 128, 128, 3): scrolling blocks and noise."""
    generator = np.random.default_rng([seed, 777])
    base = generator.integers(0, 256, size=(batch, 8, 8, 3)).repeat(16, 1).repeat(16, 2)
    out = np.empty((batch, count, 128, 128, 3), np.uint8)
    for t in range(count):
        noise = generator.integers(0, 64, size=(batch, 128, 128, 3))
        out[:, t] = np.roll(base, (2 * t, 3 * t), axis=(1, 2)) * 3 // 4 + noise
    return out


def digest(array: NDArray[Any]) -> str:
    """The first 16 hex digits of the SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def check_frames(made: NDArray[np.uint8], meta: Mapping[str, Any]) -> None:
    """Raises AssertionError where the recorded digest differs: then a miss would say nothing about the network."""
    if "frames_sha256_16" in meta:
        assert digest(made) == meta["frames_sha256_16"], "the recipe's frames are not the reference's"


def fill(module: nn.Module, seed: int, digests: Mapping[str, str] | None = None) -> None:
    """Give a module the recipe's weights, one at a time. Raises AssertionError where a recorded digest differs."""
    parameters = dict(module.named_parameters())
    for index, name in enumerate(sorted(module.state_dict())):
        values = weight(name, tuple(parameters[name].shape), seed, index)
        if digests and name in digests:
            assert digest(values) == digests[name], f"the recipe's {name} is not the reference's"
        with torch.no_grad():
            parameters[name].copy_(torch.from_numpy(values))


def seeded(
    make: Callable[[], Network], meta: Mapping[str, Any], most_parameters: float
) -> tuple[Network, NDArray[np.uint8]] | None:
    """The network and the frames that a file's outputs are of; None if it has more parameters than that."""
    with torch.device("meta"):
        if sum(p.numel() for p in make().parameters()) > most_parameters:
            return None
    network = make().eval()
    fill(network, meta["weight_seed"], meta.get("weight_digests"))
    shown = frames(meta["B"], meta["T"], meta["frame_seed"])
    check_frames(shown, meta)
    return network, shown
