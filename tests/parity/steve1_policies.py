"""STEVE-1's policies, with goals and guidance, and the first steps of the small one's training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prior.nn.memory import Memory
from prior.policy import PolicyOutput, action_logprob
from prior.published import policy_config
from prior.text.finetuning import LEARNING_RATE, MOST_GRADIENT, learning_rate, parameter_groups, summed_loss
from prior.text.policy import GoalPolicy, guided
from tests.parity.finding import Finding, largest_error
from tests.parity.steve1_recipes import NO_ENTRY, fill, frames, goal_table, read, relative, schema

Golden = Mapping[str, NDArray[Any]]


def check_policy(path: Path, seed: str, most_parameters: float = 1e9) -> Iterator[Finding]:
    """Of one policy, with the seed of its name; of a larger one its names and shapes alone."""
    meta, golden = read(path)
    config = policy_config(meta["cfg"], {"temperature": 2.0}, str(path))
    with torch.device("meta"):
        policy = GoalPolicy(config)
    yield schema(policy, path.with_name(f"schema_steve1_{path.stem}.json"))
    if sum(p.numel() for p in policy.parameters()) > most_parameters:
        return
    policy = policy.to_empty(device="cpu").eval()
    fill(policy, meta["seeds"][seed])
    policy.for_inference()  # as agents do
    tolerance = 1e-3 if seed == "small" else 2e-3
    goals = goal_table(meta["seeds"]["emb"])
    with torch.no_grad():
        yield from _chunks(path.stem, policy, golden, goals, meta["seeds"]["frames"], tolerance)
        for name in sorted({key.split("__")[0] for key in golden if key.startswith("act_")}):
            yield from _act(path.stem, name, policy, golden, goals, meta["seeds"]["frames"] + 500, tolerance)


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
    } | _stored(memory, wanted["final_K0"].shape)  # fmt: skip
    inputs = {"goals", "plan_len", "plan_first", "act_buttons", "act_camera"}
    yield from _compare(f"{file} chunks", ours, {k: v for k, v in wanted.items() if k not in inputs}, tolerance)


def _stored(memory: Memory, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """What the first layer remembers; of wide ones the files keep the newest frames, and every 16th number."""
    every = memory.layers[0][0].shape[-1] // shape[-1]
    k, v = (stored[:, -shape[1] :, ::every] for stored in memory.layers[0])
    return {"final_mask0": memory.valid[:, None, -16:], "final_K0": k, "final_V0": v}


def _act(
    file: str, name: str, policy: GoalPolicy, golden: Golden, table: Tensor, seed: int, tolerance: float
) -> Iterator[Finding]:
    """One game, frame by frame; the goal changes within it."""
    wanted = {key.removeprefix(f"{name}__"): value for key, value in golden.items() if key.startswith(f"{name}__")}
    scale = None if name == "act_none" else float(name.removeprefix("act_"))
    ways, steps = (1 if scale is None else 2), len(wanted["actions"])
    memory, told = policy.empty_memory(ways), []
    for step, image in enumerate(torch.from_numpy(frames(seed, steps))):
        goal = table[int(step >= steps // 2)]
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
    yield Finding(
        f"steve1 {name}", max(largest_error(ours[key], golden[key]) for key in close), tolerance, f"{len(close)} arrays"
    )
    misses = max(largest_error(ours[key], golden[key]) for key in exact)
    yield Finding(f"steve1 {name}, masks and best actions", misses, 0.0, f"{len(exact)} arrays")


def check_training(place: Path) -> Iterator[Finding]:
    """Three chunks in a row, a step each, the memory carried."""
    meta, golden = read(place / "train_small.npz")
    rates = [learning_rate(int(count)) for count in golden["lr_frames"]]
    yield Finding("steve1 train_small, learning rates", largest_error(rates, golden["lr"]) / LEARNING_RATE, 1e-9)
    made = json.loads((place / "policy_small.json").read_text())
    policy = GoalPolicy(policy_config(made["cfg"], {"temperature": 2.0}, "policy_small.json"))
    with torch.no_grad():
        fill(policy, made["seeds"]["small"])
    groups, named = parameter_groups(policy), {id(p): name for name, p in policy.named_parameters()}
    ours = [{named[id(p)] for p in group["params"]} for group in groups]
    wrong = (ours[0] ^ set(meta["decay"])) | (ours[1] ^ set(meta["no_decay"]))
    yield Finding("steve1 train_small, what decays", float(len(wrong)), 0.0, ", ".join(sorted(wrong)[:3]))
    chunk, table = policy.config.chunk, goal_table(made["seeds"]["emb"])
    total = 3 * chunk
    entries = torch.tensor([[2] * total, [NO_ENTRY] * (total // 2) + [5] * (total // 2)])
    seen = torch.from_numpy(np.stack([frames(made["seeds"]["frames"] + 900 + stream, total) for stream in range(2)]))
    rng = np.random.default_rng([made["seeds"]["act"], 9100])
    buttons, camera = (torch.from_numpy(rng.integers(0, count, (2, total))) for count in (8641, 121))
    begun = policy.state_dict()["net.mineclip_embed_linear.weight"][0].clone()
    optimizer, memory = torch.optim.AdamW(groups, lr=LEARNING_RATE), policy.empty_memory(2)
    losses, norms, sums = [], [], []
    for start in range(0, total, chunk):
        part = slice(start, start + chunk)
        out, memory = policy(seen[:, part], memory, goals_BTG=table[entries[:, part]])
        memory = memory.detach()
        loss = summed_loss(out, buttons[:, part], camera[:, part])
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(policy.parameters(), MOST_GRADIENT).item())
        optimizer.step()
        losses.append(loss.item())
        sums.append(_sums(policy))
    ended = policy.state_dict()["net.mineclip_embed_linear.weight"][0]
    yield Finding("steve1 train_small, losses", relative(losses, golden["loss"]), 1e-5, "relative")
    yield Finding(
        "steve1 train_small, gradients' norms", relative(norms, golden["grad_norm_before_clip"]), 1e-3, "relative"
    )
    yield Finding("steve1 train_small, sums of parameters", relative(sums, golden["param_sums"]), 1e-4, "relative")
    moved = largest_error(ended - begun, golden["mineclip_linear_weight_delta_row0"])
    yield Finding("steve1 train_small, a row of the goal's layer", moved, 2e-6, "Adam's steps are 4e-5")


def _sums(policy: GoalPolicy) -> list[float]:
    weights = {name: tensor.double() for name, tensor in policy.state_dict().items()}
    return [
        weights["net.mineclip_embed_linear.weight"].sum().item(),
        weights["net.lastlayer.layer.weight"].abs().sum().item(),
        weights["pi_head.camera.linear_layer.bias"].sum().item(),
        weights["net.img_process.cnn.stacks.0.n.weight"].sum().item(),
    ]
