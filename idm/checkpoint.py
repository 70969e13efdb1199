"""An inverse dynamics model on disk: ``model.safetensors``, ``config.json`` and, once fitted, ``calibration.json``; OpenAI's
published ``4x_idm.model`` and ``4x_idm.weights`` are read and written too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from data.files import write_json_atomic
from idm.calibration import Calibration
from idm.config import IDMConfig
from idm.model import InverseDynamicsModel
from idm.published import idm_config, idm_kwargs
from prior.checkpoint import read_config, write_published, write_safetensors
from prior.locate import CONFIG, WEIGHTS, ModelFiles, find_model
from prior.published_files import load_into, read_weights

CALIBRATION = "calibration.json"


def save_model(folder: Path, model: InverseDynamicsModel, calibration: Calibration | None = None) -> None:
    """Write the model; each file is complete or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / CONFIG, model.config.to_dict())
    write_safetensors(folder / WEIGHTS, model)
    if calibration is None:
        (folder / CALIBRATION).unlink(missing_ok=True)  # one of other weights
    else:
        write_json_atomic(folder / CALIBRATION, calibration.to_dict())


def load_model(
    source: str | Path, device: str = "cpu", *, weights: Path | None = None, dtype: torch.dtype = torch.float32
) -> tuple[InverseDynamicsModel, Calibration]:
    """Read what :func:`save_model` wrote, a published ``.model`` and ``.weights``, or a name on the hub.

    The weights are mapped from the file, never held twice. Raises ValueError naming the file if one is missing, or
    listing every tensor that is missing, unexpected or of another shape.
    """
    files = find_model(source, weights)
    with torch.device("meta"):
        model = InverseDynamicsModel(read_config(files, IDMConfig, idm_config)).to(dtype)
    load_into(model, read_weights(files.weights), files.weights)
    return model.to(device).eval(), _calibration(files)


def save_published_model(path: Path, model: InverseDynamicsModel) -> None:
    """Write ``NAME.model`` and ``NAME.weights``, which openai/Video-Pre-Training's code reads. Calibration has no place there.

    Raises ValueError for a model that is not of VPT's kind.
    """
    write_published(path, model, *idm_kwargs(model.config))


def model_hash(source: str | Path, weights: Path | None = None) -> str:
    """A short name for exactly these weights, settings and calibration, for the manifests of labels."""
    files = find_model(source, weights)
    first = files.config or files.architecture
    assert first is not None
    digest = hashlib.sha256()
    for path in (first, files.weights, first.parent / CALIBRATION):
        if path.exists():
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def _calibration(files: ModelFiles) -> Calibration:
    """What was fitted beside the model; a published one is taken at its word."""
    if files.config is None or not (fitted := files.config.with_name(CALIBRATION)).exists():
        return Calibration()
    return Calibration.from_dict(json.loads(fitted.read_text(encoding="utf-8")))
