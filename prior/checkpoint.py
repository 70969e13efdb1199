"""A policy on disk: a folder with ``model.safetensors`` and ``config.json``; OpenAI's files are read and written too."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import nn

from data.files import atomic_path, write_json_atomic
from data.json_config import JsonConfig
from prior.config import PolicyConfig
from prior.locate import CONFIG, WEIGHTS, ModelFiles, find_model
from prior.nn.heads import ValueHead
from prior.policy import Policy
from prior.published import policy_config, policy_kwargs
from prior.published_files import LoadReport, load_into, read_model_file, read_weights

Config = TypeVar("Config", bound=JsonConfig)

HARMLESS = ("aux_value_head.", "value_head.")
"""What files may have beyond the policy (a second value head, of reinforcement learning) or lack (files of cloning alone)."""


def load_policy(
    source: str | Path, weights: Path | None = None, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[Policy, LoadReport]:
    """A policy from a folder, a published ``.model`` and ``.weights``, or a name on the hub (see :func:`find_model`).

    The weights are mapped from the file, never held twice. A value head that the file lacks starts anew; the report says so.
    Raises ValueError, listing them, where any other tensor is missing, unexpected or of another shape.
    """
    files = find_model(source, weights)
    with torch.device("meta"):
        policy = Policy(read_config(files, PolicyConfig, policy_config)).to(dtype)
    tensors = read_weights(files.weights)
    if not any(name.startswith("value_head.") for name in tensors):
        policy.value_head = ValueHead(policy.config.hidden).to(dtype)  # not in the file: real, random, initial values
    report = load_into(policy, tensors, files.weights, HARMLESS)
    if report.without_values:
        raise ValueError(
            f"{files.weights} has only a part of the value head: {', '.join(report.without_values)} are missing"
        )
    return policy.to(device).eval(), report


def read_config(
    files: ModelFiles, own: type[Config], published: Callable[[dict[str, Any], dict[str, Any], str], Config]
) -> Config:
    """How a network is built, from either kind of files; own: our config, published: makes it of a ``.model``'s arguments."""
    if files.config is not None:
        return own.read(files.config)
    assert files.architecture is not None
    found = read_model_file(files.architecture)
    return published(found.net, found.pi_head, str(files.architecture))


def from_pretrained(source: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Policy:
    """The policy of :func:`load_policy`, ready to play: ``PolicyAgent(from_pretrained("foundation-model-1x.model"))``."""
    return load_policy(source, device=device, dtype=dtype)[0]


def save_policy(folder: Path, policy: Policy) -> None:
    """Write ``config.json`` and ``model.safetensors``; each is complete or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / CONFIG, policy.config.to_dict())
    write_safetensors(folder / WEIGHTS, policy)


def write_safetensors(path: Path, module: nn.Module) -> None:
    with atomic_path(path) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}, part)
        part.chmod(0o666 & ~_umask())  # safetensors writes for the owner alone


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_published(path: Path, module: nn.Module, net: dict[str, Any], pi_head: dict[str, Any]) -> None:
    """Write ``NAME.model`` (plain data, no classes) and ``NAME.weights`` in the published layout; path: either of them."""
    with atomic_path(path.with_suffix(".model")) as part:
        part.write_bytes(pickle.dumps({"model": {"args": {"net": {"args": net}, "pi_head_opts": pi_head}}}, protocol=4))
    with atomic_path(path.with_suffix(".weights")) as part:
        torch.save({name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}, part)


def save_published_policy(path: Path, policy: Policy) -> None:
    """Write a policy as ``NAME.model`` and ``NAME.weights``, which openai/Video-Pre-Training's code reads."""
    write_published(path, policy, *policy_kwargs(policy.config))
