"""Names, shapes, counts and frozen parameters of the published models, without making their weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from idm.model import InverseDynamicsModel
from idm.published import idm_config
from prior.policy import Policy
from prior.published import policy_config
from tests.parity.finding import Finding, guarded, vpt_folder


def check(folder: Path) -> Iterator[Finding]:
    """Every schema_*.json of a folder; the error is the number of tensors that differ."""
    for path in sorted(vpt_folder(folder).glob("schema_*.json")):
        yield from guarded(path.stem, _schema(path))


def _schema(path: Path) -> Iterator[Finding]:
    schema = json.loads(path.read_text())
    if "kwargs" not in schema:  # STEVE-1's files, of the same names: tests/parity/steve1.py
        return
    net, head = schema["kwargs"], {"temperature": schema["temperature"]}
    with torch.device("meta"):
        inverse = net.get("conv3d_params") is not None
        model = InverseDynamicsModel(idm_config(net, head)) if inverse else Policy(policy_config(net, head))
    ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    theirs = {name: list(entry["shape"]) for name, entry in schema["tensors"].items()}
    names = ours.keys() | theirs.keys()
    wrong = [name for name in names if ours.get(name) != theirs.get(name)]
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    wrong += list(frozen ^ set(schema["not_trainable"]))
    total = sum(p.numel() for p in model.parameters())
    note = f"{len(ours)} tensors, {total:,} elements"
    if total != schema["total_elements"]:
        wrong.append(f"total {schema['total_elements']:,}")
    yield Finding(path.stem, float(len(wrong)), 0.0, note + (f"; {wrong[:5]}" if wrong else ""))
