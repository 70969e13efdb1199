"""A trained model on disk: a folder with ``model.safetensors``, ``config.json`` and, once fitted, ``calibration.json``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from data.files import atomic_path, write_json_atomic
from idm.calibration import Calibration
from idm.config import IDMConfig
from idm.model import InverseDynamicsModel


def save_model(folder: Path, model: InverseDynamicsModel, calibration: Calibration | None = None) -> None:
    """Write the model; each file is complete or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / "config.json", model.config.to_dict())
    with atomic_path(folder / "model.safetensors") as path:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, path)
    if calibration is not None:
        write_json_atomic(folder / "calibration.json", calibration.to_dict())


def load_model(folder: Path, device: str = "cpu") -> tuple[InverseDynamicsModel, Calibration]:
    """Read what :func:`save_model` wrote. Raises ValueError naming the file if one is missing or does not fit."""
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name} does not exist; expected a folder written by `vpt train-idm` "
                "(config.json, model.safetensors)"
            )
    model = InverseDynamicsModel(IDMConfig.read(folder / "config.json"))
    weights = folder / "model.safetensors"
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise ValueError(f"{weights} is not a safetensors file ({error}); train or convert the model again") from error
    problems = _mismatches(tensors, model)
    if problems:
        raise ValueError(f"{weights} does not fit {folder / 'config.json'}: {'; '.join(problems)}")
    model.load_state_dict(tensors)
    fitted = folder / "calibration.json"
    calibration = (
        Calibration.from_dict(json.loads(fitted.read_text(encoding="utf-8"))) if fitted.exists() else Calibration()
    )
    return model.to(device).eval(), calibration


def _mismatches(tensors: dict[str, torch.Tensor], model: InverseDynamicsModel) -> list[str]:
    ours = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    theirs = {name: tuple(t.shape) for name, t in tensors.items()}
    out = [f"missing {name}" for name in sorted(ours.keys() - theirs.keys())]
    out += [f"unexpected {name}" for name in sorted(theirs.keys() - ours.keys())]
    return out + [
        f"{name} is {theirs[name]}, expected {ours[name]}"
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]


def model_hash(folder: Path) -> str:
    """A short name for exactly these weights, settings and calibration, for the manifests of labels."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "calibration.json"):
        if (folder / name).exists():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]
