"""The published policies: every array of every policy_*.npz, in float64 (at 1e-9) and in float32 (within its noise)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prior.nn.memory import Memory
from prior.policy import Policy, PolicyOutput, as_published
from prior.published import policy_config
from tests.parity import recipes
from tests.parity.finding import Finding, Seen, guarded, largest_error, left_over, misses_beyond_ties, vpt_folder
from tests.parity.layers import Arrays, layer_frames, layers

FLOAT64 = 1e-9
FLOAT32 = 1e-3
"""Allowed: this, plus a tenth of it for each unit of the golden value (atol 1e-3, rtol 1e-4)."""
VALUES = 2e-4
KINDS = ("camera", "vpred", "vdenorm", "buttons_probe", "buttons_stats", "buttons_top8", "buttons_full",
         "state_mask", "state_stats", "state_sel", "state_last_K", "state_last_V")  # fmt: skip


def check(folder: Path, most_parameters: float = 1e9) -> Iterator[Finding]:
    """Findings of every policy in a folder; larger ones than ``most_parameters`` are left out."""
    for path in sorted(vpt_folder(folder).glob("policy_*.json")):
        yield from guarded(path.stem, _file(path, most_parameters))


def _file(path: Path, most_parameters: float) -> Iterator[Finding]:
    meta = json.loads(path.read_text())
    if "kwargs" not in meta:  # STEVE-1's files, of the same names: tests/parity/steve1.py
        return
    config = policy_config(meta["kwargs"], {"temperature": meta["temperature"]}, str(path))
    made = recipes.seeded(lambda: Policy(config), meta, most_parameters)
    if made is None:
        return
    policy, frames = made
    golden = Seen(dict(np.load(path.with_suffix(".npz"))))
    for dtype, suffix in ((torch.float32, ""), (torch.float64, "_f64")):
        policy = policy.to(dtype)
        yield from guarded(f"{path.stem} layer", _layers(path.stem, policy, frames, golden, suffix))
        if not suffix:
            policy.for_inference()  # as agents do; float64 checks the plain layers
        for name, scenario in meta["scenarios"].items():
            compared = _scenario(path.stem, name, scenario, policy, frames, golden, suffix)
            yield from guarded(f"{path.stem} {name}", compared)
    yield left_over(path.stem, golden.unseen, of_kinds(KINDS, golden.unseen))


def of_kinds(kinds: Sequence[str], names: Iterable[str]) -> list[str]:
    """Those arrays (`scenario/kind`) that a check compares, wherever it can."""
    parts = ((name, *name.split("/", 1)) for name in names if "/" in name)
    return [name for name, group, kind in parts if group == "layer" or kind.removesuffix("_f64") in kinds]


def _layers(file: str, policy: Policy, frames: NDArray[np.uint8], golden: Arrays, suffix: str) -> Iterator[Finding]:
    """From an empty memory."""
    streams = len(frames)
    if count := layer_frames(golden, streams, suffix):
        seen = torch.from_numpy(frames[:, :count])
        ours = layers(policy, (streams, count), golden, lambda: policy(seen, policy.empty_memory(streams)))
        yield from compare(file, "layer", ours, golden, suffix)


def _scenario(
    file: str, name: str, scenario: dict[str, Any], policy: Policy, frames: NDArray[np.uint8], golden: Arrays,
    suffix: str,
) -> Iterator[Finding]:  # fmt: skip
    frames, first = frames[:, : scenario["T"]], golden[f"{name}/first"]
    memory = policy.empty_memory(len(frames))
    outputs, memories, start = [], [], 0
    for length in scenario["chunks"]:
        part = slice(start, start + length)
        starts = as_published(torch.from_numpy(first[:, part]))
        with torch.no_grad():
            out, memory = policy(torch.from_numpy(frames[:, part]), memory, starts)
        outputs.append(out)
        memories.append(memory)
        start += length
    yield from compare(file, name, _actions(policy, outputs, golden, name) | _states(memories), golden, suffix)


def _actions(policy: Policy, outputs: list[PolicyOutput], golden: Arrays, name: str) -> Arrays:
    buttons = torch.cat([out.buttons for out in outputs], 1)
    value = torch.cat([out.value for out in outputs], 1)
    wide = buttons.double()
    stats = [wide.mean(-1), wide.std(-1, correction=0), -(wide.exp() * wide).sum(-1), wide.exp().sum(-1)]
    top = golden[f"{name}/buttons_top8_idx"].astype(np.int64)
    ours = {
        "camera": torch.cat([out.camera for out in outputs], 1),
        "vpred": value,
        "vdenorm": policy.value_head.denormalize(value).detach(),
        "buttons_probe": buttons[..., golden["probe_idx"]],
        "buttons_stats": torch.stack(stats, -1),
        "buttons_top8": buttons.gather(-1, torch.from_numpy(top)),
        "buttons_first": buttons.argmax(-1),
    }
    if f"{name}/buttons_full_t" in golden:
        ours["buttons_full"] = buttons[:, golden[f"{name}/buttons_full_t"]]
    return {key: tensor.numpy() for key, tensor in ours.items()}


def _states(memories: list[Memory]) -> Arrays:
    """Stacked over (chunks, layers, keys | values, B, ...)."""
    stored = np.stack([np.stack([np.stack([k.numpy(), v.numpy()]) for k, v in m.layers]) for m in memories])
    flat = stored.reshape(*stored.shape[:4], -1)
    chosen = np.random.default_rng([9, 64]).integers(0, flat.shape[-1], 64)
    wide = flat.astype(np.float64)
    layers = len(memories[0].layers)
    return {
        "state_mask": np.stack([np.stack([m.valid.numpy()[:, None]] * layers) for m in memories]),
        "state_stats": np.stack([wide.mean(-1), wide.std(-1), np.sqrt((wide**2).sum(-1))], -1),
        "state_sel": flat[..., chosen],
        "state_last_K": stored[-1, :, 0],
        "state_last_V": stored[-1, :, 1],
    }


def compare(file: str, group: str, ours: Arrays, golden: Arrays, suffix: str) -> Iterator[Finding]:
    """One finding for each kind of tolerance."""
    exact, close, values = 0.0, 0.0, 0.0
    compared = 0
    for key, array in ours.items():
        name = f"{group}/{key}{suffix}"
        if key == "buttons_first" and not suffix:
            top, best = golden[f"{group}/buttons_top8"], golden[f"{group}/buttons_top8_idx"][..., 0]
            exact = max(exact, misses_beyond_ties(array, best, top))
        if key == "state_mask" and not suffix:
            exact = max(exact, largest_error(array, golden[name]))
        elif name in golden:
            theirs = golden[name]
            compared += 1
            scale = 1 + (0 if suffix else 0.1) * np.abs(theirs)
            error = largest_error(array / scale, theirs / scale) if array.shape == theirs.shape else float("inf")
            if key in ("vpred", "vdenorm") and not suffix:
                values = max(values, error)
            else:
                close = max(close, error)
    what = f"{file} {group}{' float64' if suffix else ' float32'}"
    if not compared:
        return
    yield Finding(what, close, FLOAT64 if suffix else FLOAT32, f"{compared} arrays")
    if not suffix and group != "layer":
        yield Finding(f"{what}, values", values, VALUES)
        yield Finding(f"{what}, masks and best actions", exact, 0.0)
