"""The published inverse dynamics model: every window of every idm_*.npz, in float64 (at 1e-9) and in float32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from idm.model import ActionLogProbs, InverseDynamicsModel
from idm.published import idm_config
from prior.nn.heads import chosen_logprob
from tests.parity import recipes
from tests.parity.finding import Finding, Seen, guarded, largest_error, left_over, misses_beyond_ties, vpt_folder
from tests.parity.layers import Arrays, layer_frames, layers
from tests.parity.policies import FLOAT32, FLOAT64, compare, of_kinds

KINDS = ("buttons", "camera", "log_prob", "ac_buttons", "ac_camera")


def check(folder: Path, most_parameters: float = 1e9) -> Iterator[Finding]:
    """Findings of every IDM in a folder; larger ones than ``most_parameters`` are left out."""
    for path in sorted(vpt_folder(folder).glob("idm_*.json")):
        yield from guarded(path.stem, _file(path, most_parameters))


def _file(path: Path, most_parameters: float) -> Iterator[Finding]:
    meta = json.loads(path.read_text())
    config = idm_config(meta["kwargs"], {"temperature": meta["temperature"]}, str(path))
    made = recipes.seeded(lambda: InverseDynamicsModel(config), meta, most_parameters)
    if made is None:
        return
    model, frames = made
    golden = Seen(dict(np.load(path.with_suffix(".npz"))))
    for dtype, suffix in ((torch.float32, ""), (torch.float64, "_f64")):
        model = model.to(dtype)
        yield from guarded(f"{path.stem} layer", _layers(model, path.stem, frames, golden, suffix))
        if not suffix:
            model.for_inference()  # as labelling does; float64 checks the plain layers
        for start, end in meta["windows"]:
            compared = _window(model, path.stem, frames, start, end, golden, suffix)
            yield from guarded(f"{path.stem} {start}:{end}", compared)
    yield left_over(path.stem, golden.unseen, of_kinds(KINDS, golden.unseen))


def _run(model: InverseDynamicsModel, frames: NDArray[np.uint8]) -> ActionLogProbs:
    """One window, black around it."""
    padded = np.pad(frames, ((0, 0), (2, 2), (0, 0), (0, 0), (0, 0)))
    with torch.no_grad():
        out: ActionLogProbs = model(torch.from_numpy(padded), torch.zeros(len(padded), padded.shape[1], 0, 0, 0))
    return out


def _layers(
    model: InverseDynamicsModel, file: str, frames: NDArray[np.uint8], golden: Arrays, suffix: str
) -> Iterator[Finding]:
    if not (count := layer_frames(golden, len(frames), suffix)):
        return

    def throw_away(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """What the published code computes here for nothing is recorded, too."""
        model.net.lastlayer(*inputs)

    hook = model.net.final_ln.register_forward_pre_hook(throw_away)
    try:
        ours = layers(model, (len(frames), count), golden, lambda: _run(model, frames[:, :count]))
    finally:
        hook.remove()
    yield from compare(file, "layer", ours, golden, suffix)


def _window(
    model: InverseDynamicsModel, file: str, frames: NDArray[np.uint8], start: int, end: int, golden: Arrays,
    suffix: str,
) -> Iterator[Finding]:  # fmt: skip
    key = f"w{start}_{end}"
    if f"{key}/buttons{suffix}" not in golden:
        return
    out = _run(model, frames[:, start:end])
    pressed, turned = out.buttons.argmax(-1), out.camera.argmax(-1)
    log_prob = chosen_logprob(out.buttons, pressed).sum(-1) + chosen_logprob(out.camera, turned).sum(-1)
    error = 0.0
    for name, ours in (("buttons", out.buttons), ("camera", out.camera), ("log_prob", log_prob)):
        if f"{key}/{name}{suffix}" in golden:
            theirs = golden[f"{key}/{name}{suffix}"]
            scale = 1 + (0 if suffix else 0.1) * np.abs(theirs)
            same_shape = tuple(ours.shape) == theirs.shape
            apart = largest_error(ours.numpy() / scale, theirs / scale) if same_shape else float("inf")
            error = max(error, apart)
    what = f"{file} {start}:{end}{' float64' if suffix else ' float32'}"
    yield Finding(what, error, FLOAT64 if suffix else FLOAT32)
    if not suffix:
        wrong = sum(
            misses_beyond_ties(ours, golden[f"{key}/ac_{name}"], golden[f"{key}/{name}"])
            for name, ours in (("buttons", pressed), ("camera", turned))
            if f"{key}/ac_{name}" in golden
        )
        yield Finding(f"{what}, labels", wrong, 0.0)
