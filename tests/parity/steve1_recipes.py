"""Weights, frames and goals of STEVE-1's reference outputs, made from seeds, and how their files are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.parity.finding import Finding, largest_error

NO_ENTRY = 8
"""In the place of a goal in the table of goals: the null goal."""


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What a .npz and the .json beside it hold."""
    with np.load(path) as arrays:
        return json.loads(path.with_suffix(".json").read_text()), dict(arrays)


def weight(name: str, shape: tuple[int, ...], seed: int, index: int) -> NDArray[np.float32]:
    """The reference's weight of a name; index: its place among the sorted names."""
    z = np.random.default_rng([seed, index]).standard_normal(shape)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "debiasing_term":
        z = np.full(shape, 0.5)
    elif leaf == "running_mean_sq":
        z = 1 + 0.1 * np.abs(z)
    elif leaf == "b_nd":
        z = 0.2 * z
    elif len(shape) >= 2:
        z = z / np.sqrt(np.prod(shape[1:]))
    else:
        z = 1 + 0.1 * z if leaf == "weight" else 0.1 * z
    return np.asarray(z, dtype=np.float32)


def fill(module: nn.Module, seed: int) -> None:
    """Give a module the reference's weights."""
    for index, (name, tensor) in enumerate(sorted(module.state_dict().items())):
        tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape), seed, index)))


def frames(seed: int, count: int, size: tuple[int, int] = (128, 128)) -> NDArray[np.uint8]:
    """The reference's frames (T, *size, 3): moving triangle waves and noise."""
    height, width = size
    rng = np.random.default_rng([seed, 7001])
    slope, phase = rng.uniform(0.5, 3.0, (3, 3)), rng.uniform(0, 1, (3, 3))
    noise = rng.integers(-20, 21, (count, height, width, 3))
    y, x = np.arange(height)[:, None, None] / height, np.arange(width)[None, :, None] / width
    out = np.empty((count, height, width, 3), np.uint8)
    for t in range(count):
        place = slope[:, 0] * x + slope[:, 1] * y + phase[:, 0] + 0.03 * t * slope[:, 2]
        wave = np.abs((place - np.floor(place)) * 2 - 1)
        out[t] = np.clip(np.floor(wave * 220) + 15 + noise[t], 0, 255)
    return out


def goal_table(seed: int) -> Tensor:
    """The reference's eight goals, and the null goal."""
    goals = np.random.default_rng([seed, 9001]).standard_normal((8, 512)).astype(np.float32)
    return torch.from_numpy(np.concatenate([goals, np.zeros((1, 512), np.float32)]))


def schema(module: nn.Module, path: Path) -> Iterator[Finding]:
    """Names and shapes of a module's tensors, where there is a file of them; the error is how many differ."""
    if not path.exists():
        return
    theirs = {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}
    ours = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    wrong = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    yield Finding(
        f"steve1 {path.stem}", float(len(wrong)), 0.0, f"{len(ours)} tensors{f'; {wrong[:5]}' if wrong else ''}"
    )


def relative(ours: Any, golden: Any) -> float:
    """The largest difference relative to the golden value."""
    ours, golden = np.asarray(ours, np.float64), np.asarray(golden, np.float64)
    return largest_error(ours / golden, np.ones_like(golden))
