"""The published IDM's numbers, from reference outputs made by running the published code on seeded random weights."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from idm.config import preset
from idm.model import InverseDynamicsModel

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "vpt"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="no golden data beside the checkout (../shared/golden/vpt)")


def golden_weight(name: str, shape: tuple[int, ...], seed: int, index: int) -> np.ndarray:
    z = np.random.default_rng([seed, index]).standard_normal(shape)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    if any(part in name for part in (".norm.", ".n.", ".pre_r_ln.", ".final_ln.")):
        z = 1 + 0.1 * z if name.endswith("weight") else 0.1 * z
    elif name.endswith(".b_nd"):
        z = 0.3 * z
    elif name.endswith(".bias"):
        z = 0.1 * z
    else:
        gain = 4 if ".q_layer." in name or ".k_layer." in name else 6 if name.startswith("pi_head.") else 1
        z = gain * z / math.sqrt(fan_in)
    return np.array(z, dtype=np.float32)


def golden_frames(batch: int, frames: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng([seed, 777])
    base = generator.integers(0, 256, size=(batch, 8, 8, 3)).repeat(16, 1).repeat(16, 2)
    out = np.empty((batch, frames, 128, 128, 3), np.uint8)
    for t in range(frames):
        noise = generator.integers(0, 64, size=(batch, 128, 128, 3))
        out[:, t] = np.roll(base, (2 * t, 3 * t), axis=(1, 2)) * 3 // 4 + noise
    return out


def load_recipe(model: InverseDynamicsModel, seed: int) -> None:
    state = model.state_dict()
    for index, name in enumerate(sorted(state)):
        weight = golden_weight(name, tuple(state[name].shape), seed, index)
        state[name] = torch.from_numpy(weight.reshape(state[name].shape))
    model.load_state_dict(state)


def test_parameter_names_and_shapes_are_the_published_ones() -> None:
    schema = json.loads((GOLDEN / "schema_idm_4x.json").read_text())
    with torch.device("meta"):
        model = InverseDynamicsModel(preset("vpt_4x"))
    ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    theirs = {
        name: entry["shape"] if isinstance(entry, dict) else entry[0] if isinstance(entry[0], list) else entry
        for name, entry in schema["tensors"].items()
    }
    assert ours == theirs


@pytest.mark.parametrize("window", [0, 1, 2, 3])
def test_small_idm_in_float64_matches_the_reference(window: int) -> None:
    meta = json.loads((GOLDEN / "idm_small.json").read_text())
    golden = np.load(GOLDEN / "idm_small.npz")
    config = dataclasses.replace(
        preset("vpt_4x"), stem_channels=16, trunk_channels=(16, 32, 32), hidden=256, heads=4, layers=2
    )
    model = InverseDynamicsModel(config)
    load_recipe(model, meta["weight_seed"])
    model = model.double().eval()
    start, end = meta["windows"][window]
    frames = golden_frames(meta["B"], meta["T"], meta["frame_seed"])[:, start:end]
    padded = torch.from_numpy(np.pad(frames, ((0, 0), (2, 2), (0, 0), (0, 0), (0, 0))))
    with torch.no_grad():
        out = model(padded, torch.zeros(meta["B"], padded.shape[1], 0, 0, 0))
    key = f"w{start}_{end}"
    np.testing.assert_allclose(out.buttons, golden[f"{key}/buttons_f64"], atol=1e-9)
    np.testing.assert_allclose(out.camera, golden[f"{key}/camera_f64"], atol=1e-9)
