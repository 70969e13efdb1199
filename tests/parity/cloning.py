"""Behavioural cloning as published: frame by frame with a carried, detached memory, Adam with coupled decay, no clipping."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prior.policy import Policy, action_logprob
from prior.published import policy_config
from tests.parity import recipes
from tests.parity.finding import Finding, largest_error


def check(folder: Path) -> Iterator[Finding]:
    """Every bc*.npz of a folder: float64 at every step, float32 as far as its noise lets it."""
    for path in sorted(folder.glob("bc*.json")):
        meta, golden = json.loads(path.read_text()), dict(np.load(path.with_suffix(".npz")))
        for dtype, suffix in ((torch.float64, "_f64"), (torch.float32, "")):
            ours = _train(meta, golden, dtype, str(path))
            losses = np.abs(ours["losses"] - golden[f"losses{suffix}"]).max(1)
            if suffix:
                for name, array in ours.items():
                    if name + suffix in golden:
                        scale = 1 + np.abs(golden[name + suffix])
                        yield Finding(
                            f"{path.stem} {name} float64",
                            largest_error(array / scale, golden[name + suffix] / scale),
                            1e-9,
                        )
                continue
            yield Finding(f"{path.stem} first losses float32", float(losses[0]), 1e-3)
            yield Finding(f"{path.stem} second losses float32", float(losses[1]), 2e-2)
            yield Finding(f"{path.stem} later losses float32", float(losses.max()), 0.3)
            theirs = golden["grad0_stats"][:, 2]
            apart = np.abs(ours["grad0_stats"][:, 2] - theirs) / np.maximum(theirs, 1e-6 * theirs.max())
            yield Finding(f"{path.stem} first gradients' norms float32", float(apart.max()), 1e-2, "relative")


def _train(
    meta: dict[str, Any], golden: dict[str, NDArray[Any]], dtype: torch.dtype, source: str
) -> dict[str, NDArray[Any]]:
    policy = Policy(policy_config(meta["kwargs"], {"temperature": meta["temperature"]}, source))
    recipes.fill(policy, meta["weight_seed"])
    policy = policy.to(dtype).train()
    batch, steps = meta["BATCH"], meta["steps"]
    frames = torch.from_numpy(recipes.frames(batch, steps, meta["frame_seed"]))
    buttons, camera = (torch.from_numpy(golden[name].astype(np.int64)) for name in ("jb", "jc"))
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=meta["lr"], weight_decay=meta["weight_decay"])
    memory = policy.empty_memory(batch)
    losses, norms = [], []
    first: dict[str, torch.Tensor] = {}
    for step in range(steps):
        out, memory = policy(frames[:, step : step + 1], memory)
        memory = memory.detach()
        chosen = action_logprob(out, buttons[:, step, None], camera[:, step, None])[:, 0]
        optimizer.zero_grad(set_to_none=True)
        (-chosen / batch).sum().backward()
        losses.append((-chosen / batch).detach().numpy())
        gradients = {n: p.grad.detach().clone() for n, p in policy.named_parameters() if p.grad is not None}
        norms.append(torch.stack([g.double().norm() for g in gradients.values()]).norm().item())
        first = first or {name: gradients[name] for name in sorted(gradients)}
        optimizer.step()
    ended = {name: p.detach() for name, p in sorted(policy.state_dict().items())}
    return {
        "losses": np.stack(losses),
        "gnorm": np.array(norms),
        "grad0_stats": _stats(first),
        "grad0_sel": _chosen(first),
        "param_stats": _stats(ended),
        "param_sel": _chosen(ended),
    }


def _stats(tensors: dict[str, torch.Tensor]) -> NDArray[np.float64]:
    wide = [t.double() for t in tensors.values()]
    return np.array([[t.mean().item(), t.std(correction=0).item(), t.norm().item()] for t in wide])


def _chosen(tensors: dict[str, torch.Tensor]) -> NDArray[np.float64]:
    picked = [t.double().flatten()[np.random.default_rng([7, 16]).integers(0, t.numel(), 16)] for t in tensors.values()]
    return torch.cat(picked).numpy()
