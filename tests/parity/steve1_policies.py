"""STEVE-1's policies, with goals and guidance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prior.config import PolicyConfig
from prior.nn.memory import Memory
from prior.policy import PolicyOutput, action_logprob
from prior.published import policy_config
from prior.text.policy import GoalPolicy, guided
from tests.parity.finding import Finding, guarded, largest_error, left_over
from tests.parity.steve1_recipes import NO_ENTRY, fill, frames, goal_table, read, schema

Golden = Mapping[str, NDArray[Any]]

PUBLISHED_WIDTH = 2048
"""From this hidden size on, float32's sums are so long that twice as much is allowed."""


def is_vpt(path: Path) -> bool:
    """Whether the json beside a file says that it is of a policy of VPT: these have the same names."""
    try:
        return "kwargs" in json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return False


def steve1_config(meta: Mapping[str, Any], source: str) -> PolicyConfig:
    """The heads' temperature is the published one where the file does not say it."""
    named = {"temperature": 2.0} | meta["cfg"] | meta
    return policy_config(meta["cfg"], {"temperature": named["temperature"]}, source)


def weight_seed(size: str, seeds: Mapping[str, int]) -> int:
    """The seed of a policy's weights: of the size that its name begins with."""
    known = [name for name in seeds if size.replace("2x", "two").startswith(name)]
    if not known:
        raise ValueError(f"no seed for the weights of policy_{size} among {', '.join(seeds)}")
    return seeds[max(known, key=len)]


def check_policy(path: Path, most_parameters: float = 1e9) -> Iterator[Finding]:
    """Of one policy; of a larger one its names and shapes alone."""
    meta, golden = read(path)
    config = steve1_config(meta, str(path))
    with torch.device("meta"):
        policy = GoalPolicy(config)
    yield from schema(policy, path.with_name(f"schema_steve1_{path.stem}.json"))
    if sum(p.numel() for p in policy.parameters()) > most_parameters:
        return
    policy = policy.to_empty(device="cpu").eval()
    seeds = meta["seeds"]
    with torch.no_grad():
        fill(policy, weight_seed(path.stem.removeprefix("policy_"), seeds))
    policy.for_inference()  # as agents do
    tolerance = 2e-3 if config.hidden >= PUBLISHED_WIDTH else 1e-3
    goals = goal_table(seeds["emb"])
    names = {key.split("__")[0] for key in golden}
    if "chunks" in names:
        chunks = _chunks(path.stem, policy, golden, goals, seeds["frames"], tolerance)
        yield from guarded(f"steve1 {path.stem} chunks", chunks)
    for name in sorted(name for name in names if name.startswith("act_")):
        game = _act(path.stem, name, policy, golden, goals, seeds["frames"] + 500, tolerance)
        yield from guarded(f"steve1 {path.stem} {name}", game)
    yield left_over(f"steve1 {path.stem}", (key for key in golden if not key.startswith(("chunks__", "act_"))), ())


@torch.no_grad()
def _chunks(
    file: str, policy: GoalPolicy, golden: Golden, table: Tensor, seed: int, tolerance: float
) -> Iterator[Finding]:
    """Two streams in calls of several lengths, with a goal a frame, and episodes that begin between calls."""
    wanted = {key.removeprefix("chunks__"): value for key, value in golden.items() if key.startswith("chunks__")}
    goals = table[torch.from_numpy(wanted["goals"]).long()]
    batch, total = goals.shape[:2]
    seen = torch.from_numpy(np.stack([frames(seed + 100 * stream, total) for stream in range(batch)]))
    memory, outputs, start = policy.empty_memory(batch), [], 0
    for length, begins in zip(wanted["plan_len"], wanted["plan_first"], strict=True):
        part = slice(start, start + int(length))
        first = torch.zeros(batch, int(length), dtype=torch.bool)
        first[:, 0] = torch.from_numpy(begins)
        out, memory = policy(seen[:, part], memory, first, goals_BTG=goals[:, part])
        outputs.append(out)
        start = part.stop
    whole = PolicyOutput(
        *(torch.cat([getattr(o, n) for o in outputs], 1) for n in ("buttons", "camera", "value", "latents"))
    )
    taken = (torch.from_numpy(wanted[f"act_{name}"]).long()[..., 0] for name in ("buttons", "camera"))
    ours = _heads(whole.buttons, whole.camera) | {
        "pi_latent": whole.latents,
        "vpred": whole.value,
        "vpred_denorm": policy.value_head.denormalize(whole.value),
        "logprob": action_logprob(whole, *taken),
    } | _stored(memory, wanted["final_K0"].shape, wanted["final_mask0"].shape[-1])  # fmt: skip
    inputs = {"goals", "plan_len", "plan_first", "act_buttons", "act_camera"}
    yield from _compare(f"{file} chunks", ours, {k: v for k, v in wanted.items() if k not in inputs}, tolerance)


def _stored(memory: Memory, shape: tuple[int, ...], masked: int) -> dict[str, Tensor]:
    """What the first layer remembers; of wide ones the files keep the newest frames, and every 16th number.

    shape: of the keys in the file. masked: how many frames the file's mask is of."""
    every = memory.layers[0][0].shape[-1] // shape[-1]
    k, v = (stored[:, -shape[1] :, ::every] for stored in memory.layers[0])
    return {"final_mask0": memory.valid[:, None, -masked:], "final_K0": k, "final_V0": v}


@torch.no_grad()
def _act(
    file: str, name: str, policy: GoalPolicy, golden: Golden, table: Tensor, seed: int, tolerance: float
) -> Iterator[Finding]:
    """One game, frame by frame; the goal changes once the memory has overflown, or halfway where the game is shorter."""
    wanted = {key.removeprefix(f"{name}__"): value for key, value in golden.items() if key.startswith(f"{name}__")}
    scale = None if name == "act_none" else float(name.removeprefix("act_"))
    ways, steps = (1 if scale is None else 2), len(wanted["actions"])
    change = goal_change(policy.config.memory, steps)
    memory, told = policy.empty_memory(ways), []
    for step, image in enumerate(torch.from_numpy(frames(seed, steps))):
        goal = table[int(step >= change)]
        goals = torch.stack([goal, table[NO_ENTRY]])[:ways, None]
        seen = policy.with_goals(policy.frame_features(image[None]).expand(ways, -1)[:, None], goals)
        latents, memory = policy.latents(seen, memory, torch.zeros(ways, 1, dtype=torch.bool))
        out = policy.heads(latents)
        heads = [out.buttons, out.camera]
        if scale is not None:
            heads = [guided(head[:1], head[1:], scale) for head in heads]
        told.append((*heads, out.value))
    buttons, camera, value = (torch.cat(parts, 1) for parts in zip(*told, strict=True))
    ours = _heads(buttons, camera) | {
        "actions": torch.stack([buttons[0].argmax(-1), camera[0].argmax(-1)], -1),
        "vpred": policy.value_head.denormalize(value),  # the published step returns it so
        "final_mask_last": memory.valid[:, None],
        "final_K_last_absmean": memory.layers[-1][0].abs().mean((1, 2)),
    }
    yield from _compare(f"{file} {name}", ours, wanted, tolerance * (1 + 2 * (scale or 0)))


def goal_change(memory: int, steps: int) -> int:
    """The step from which a game has its second goal."""
    overflown = memory + 2
    return overflown if overflown < steps else steps // 2


def _heads(buttons: Tensor, camera: Tensor) -> dict[str, Tensor]:
    best = buttons.max(-1)
    summary = {"buttons_argmax": best.indices, "buttons_max": best.values, "buttons_lse": buttons.logsumexp(-1)}
    return {key: value[..., None] for key, value in summary.items()} | {
        "camera": camera[..., None, :],
        "buttons_sub": buttons[..., None, ::17],
    }


def _compare(name: str, ours: Mapping[str, Tensor], golden: Golden, tolerance: float) -> Iterator[Finding]:
    exact = [key for key in ours if key in golden and not np.issubdtype(golden[key].dtype, np.floating)]
    close = [key for key in ours if key in golden and key not in exact]
    left = sorted(golden.keys() ^ ours.keys())
    if left:
        yield Finding(f"steve1 {name}, arrays", float(len(left)), 0.0, f"not on both sides: {', '.join(left)}")
    error = max((largest_error(ours[key], golden[key]) for key in close), default=0.0)
    yield Finding(f"steve1 {name}", error, tolerance, f"{len(close)} arrays")
    misses = max((largest_error(ours[key], golden[key]) for key in exact), default=0.0)
    yield Finding(f"steve1 {name}, masks and best actions", misses, 0.0, f"{len(exact)} arrays")
