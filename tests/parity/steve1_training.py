"""The first steps of training STEVE-1's policy: what decays, losses, gradients and what they do to the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prior.text.finetuning import (
    LEARNING_RATE,
    MOST_GRADIENT,
    WEIGHT_DECAY,
    learning_rate,
    parameter_groups,
    summed_loss,
)
from prior.text.policy import GoalPolicy
from tests.parity.finding import Finding, Seen, guarded, largest_error, left_over
from tests.parity.steve1_policies import steve1_config, weight_seed
from tests.parity.steve1_recipes import NO_ENTRY, fill, frames, goal_table, read, relative

Golden = Mapping[str, NDArray[Any]]


def check_training(path: Path, most_parameters: float = 1e9) -> Iterator[Finding]:
    """Of a ``train_SIZE.npz``; its policy and seeds are those of the policy of that size, unless its own json has them."""
    meta, arrays = read(path)
    golden = Seen(arrays)
    yield from guarded(f"steve1 {path.stem}, learning rates", _rates(path.stem, meta, golden))
    size = path.stem.removeprefix("train_")
    made = meta if "cfg" in meta else json.loads(path.with_name(f"policy_{size}.json").read_text())
    with torch.device("meta"):
        policy = GoalPolicy(steve1_config(made, f"the policy of {path}"))
    yield from guarded(f"steve1 {path.stem}, what decays", _decay(path.stem, policy, meta))
    if sum(p.numel() for p in policy.parameters()) > most_parameters:
        return
    policy = policy.to_empty(device="cpu")
    with torch.no_grad():
        fill(policy, weight_seed(size, made["seeds"]))
    yield from guarded(f"steve1 {path.stem}", _steps(path.stem, policy, made["seeds"], meta, golden))
    yield left_over(f"steve1 {path.stem}", golden.unseen)


def _rates(file: str, meta: dict[str, Any], golden: Golden) -> Iterator[Finding]:
    peak = meta.get("lr", LEARNING_RATE)
    rates = [learning_rate(int(count), peak) for count in golden["lr_frames"]]
    yield Finding(f"steve1 {file}, learning rates", largest_error(rates, golden["lr"]) / peak, 1e-9)


def _decay(file: str, policy: GoalPolicy, meta: dict[str, Any]) -> Iterator[Finding]:
    groups, named = parameter_groups(policy), {id(p): name for name, p in policy.named_parameters()}
    ours = [{named[id(p)] for p in group["params"]} for group in groups]
    wrong = (ours[0] ^ set(meta["decay"])) | (ours[1] ^ set(meta["no_decay"]))
    yield Finding(f"steve1 {file}, what decays", float(len(wrong)), 0.0, ", ".join(sorted(wrong)[:3]))


def _steps(
    file: str, policy: GoalPolicy, seeds: dict[str, int], meta: dict[str, Any], golden: Golden
) -> Iterator[Finding]:
    """Chunks in a row, a step each, the memory carried."""
    chunk, table = policy.config.chunk, goal_table(seeds["emb"])
    total = len(golden["loss"]) * chunk
    entries = goal_entries(total)
    seen = torch.from_numpy(np.stack([frames(seeds["frames"] + 900 + stream, total) for stream in range(2)]))
    rng = np.random.default_rng([seeds["act"], 9100])
    buttons, camera = (torch.from_numpy(rng.integers(0, count, (2, total))) for count in (8641, 121))
    begun = policy.state_dict()["net.mineclip_embed_linear.weight"][0].clone()
    rate, most_gradient = meta.get("lr", LEARNING_RATE), meta.get("max_grad_norm", MOST_GRADIENT)
    groups = parameter_groups(policy, meta.get("weight_decay", WEIGHT_DECAY))
    optimizer, memory = torch.optim.AdamW(groups, lr=rate), policy.empty_memory(2)
    losses, norms, sums = [], [], []
    for start in range(0, total, chunk):
        part = slice(start, start + chunk)
        out, memory = policy(seen[:, part], memory, goals_BTG=table[entries[:, part]])
        memory = memory.detach()
        loss = summed_loss(out, buttons[:, part], camera[:, part])
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(policy.parameters(), most_gradient).item())
        optimizer.step()
        losses.append(loss.item())
        sums.append(_sums(policy))
    ended = policy.state_dict()["net.mineclip_embed_linear.weight"][0]
    yield Finding(f"steve1 {file}, losses", relative(losses, golden["loss"]), 1e-5, "relative")
    yield Finding(
        f"steve1 {file}, gradients' norms", relative(norms, golden["grad_norm_before_clip"]), 1e-3, "relative"
    )
    yield Finding(f"steve1 {file}, sums of parameters", relative(sums, golden["param_sums"]), 1e-4, "relative")
    moved = largest_error(ended - begun, golden["mineclip_linear_weight_delta_row0"])
    note = f"Adam's steps are {rate:.0e}"
    yield Finding(f"steve1 {file}, a row of the goal's layer", moved, 2e-6 * (rate / LEARNING_RATE), note)


def goal_entries(frames: int) -> Tensor:
    """Which of the goals two streams have; the first half of the second has none."""
    half = frames // 2
    return torch.tensor([[2] * frames, [NO_ENTRY] * half + [5] * (frames - half)])


def _sums(policy: GoalPolicy) -> list[float]:
    weights = {name: tensor.double() for name, tensor in policy.state_dict().items()}
    return [
        weights["net.mineclip_embed_linear.weight"].sum().item(),
        weights["net.lastlayer.layer.weight"].abs().sum().item(),
        weights["pi_head.camera.linear_layer.bias"].sum().item(),
        weights["net.img_process.cnn.stacks.0.n.weight"].sum().item(),
    ]
