"""Turn a published model (NAME.model and NAME.weights) into a folder with model.safetensors and config.json, or back.

    vpt convert foundation-model-1x.model models/1x
    vpt convert 2x.model models/steve1 --weights steve1.weights --goal-prior steve1_prior.pt --mineclip attn.pth

Policies, inverse dynamics models and STEVE-1 are recognised. Every command that takes a model also takes published files as
they are: converting makes loading safe for others (no pickle) and is a way to keep weights in fewer bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from data.files import PART_MARK
from idm.checkpoint import load_model, save_model, save_published_model
from prior.checkpoint import load_policy, save_policy, save_published_policy
from prior.locate import ModelFiles, find_model
from prior.published_files import read_model_file
from vpt_pipeline.progress import say

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ConvertConfig:
    """Settings of `vpt convert`."""

    source: Annotated[Path, tyro.conf.Positional]
    """NAME.model with NAME.weights beside it, or a folder with config.json and model.safetensors."""
    out: Annotated[Path, tyro.conf.Positional]
    """A folder, or NAME.model to write published files (NAME.model and NAME.weights)."""
    weights: Path | None = None
    """The .weights file, where its name is not that of the .model (reinforcement-learned models share one .model)."""
    goal_prior: Path | None = None
    """With --mineclip: STEVE-1's prior from texts to goals, steve1_prior.pt; makes a folder that follows texts."""
    mineclip: Path | None = None
    """MineCLIP's attn.pth. It is not copied: keep it where it is."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the weights are stored as. Computing is decided when the model is used."""


def is_inverse_dynamics(files: ModelFiles) -> bool:
    """Whether these files hold an inverse dynamics model and not a policy."""
    if files.architecture is not None:
        return read_model_file(files.architecture).net.get("conv3d_params") is not None
    assert files.config is not None
    return '"gui_head"' in files.config.read_text(encoding="utf-8")  # which policies have not


def main(config: ConvertConfig) -> int:
    """Convert; returns 0."""
    files = find_model(config.source, config.weights)
    published = config.out.suffix in (".model", ".weights")
    if config.out.exists() and not published and not config.out.is_dir():
        raise ValueError(f"{config.out} is a file; expected a folder to write, or a name that ends in .model")
    if PART_MARK in config.out.name:
        raise ValueError(f"{config.out} is a name of unfinished files; choose another")
    dtype = DTYPES[config.dtype]
    if config.goal_prior is not None or config.mineclip is not None:
        return _convert_follower(config, published)
    if is_inverse_dynamics(files):
        model, calibration = load_model(config.source, weights=config.weights, dtype=dtype)
        if published:
            save_published_model(config.out, model)
        else:
            save_model(config.out, model, calibration)
        kind, count = "inverse dynamics model", sum(p.numel() for p in model.parameters())
        use = f"vpt label VIDEO... --model {config.out}"
    else:
        policy, report = load_policy(config.source, config.weights, dtype=dtype)
        if published:
            save_published_policy(config.out, policy)
        else:
            save_policy(config.out, policy)
        kind, count = "policy", sum(p.numel() for p in policy.parameters())
        use = f'PolicyAgent(from_pretrained("{config.out}"))'
        if report.missing_harmless:
            say(f"[yellow]not in the file, and initial here:[/yellow] {', '.join(report.missing_harmless)}")
        if report.unexpected_harmless:
            say(f"[yellow]in the file, and of no use:[/yellow] {', '.join(report.unexpected_harmless)}")
    say(f"{kind}, {count:,} parameters, as {config.dtype} -> {config.out}")
    say(f"use it: {use}")
    return 0


def _convert_follower(config: ConvertConfig, published: bool) -> int:
    from prior.text.cvae import load_goal_prior
    from prior.text.embedding.mineclip_files import mineclip_embedder
    from prior.text.follower import Follower, save_follower
    from prior.text.policy import load_goal_policy

    if config.goal_prior is None or config.mineclip is None or published:
        raise ValueError(
            "following texts takes --goal-prior (steve1_prior.pt) and --mineclip (attn.pth), and a folder to write into"
        )
    policy = load_goal_policy(config.source, config.weights, dtype=DTYPES[config.dtype])
    goal_prior = load_goal_prior(config.goal_prior)
    embedder = mineclip_embedder(config.mineclip, goals=True)
    save_follower(config.out, Follower(policy, goal_prior, embedder))
    say(f"a policy that follows texts, {sum(p.numel() for p in policy.parameters()):,} parameters -> {config.out}")
    say(f'use it: vpt play {config.out}:"chop a tree" --guidance 6')
    return 0
