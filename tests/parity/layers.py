"""What single modules of a network put out, against what the reference outputs recorded of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Arrays = dict[str, NDArray[Any]]


def layer_frames(golden: Arrays, streams: int, suffix: str) -> int:
    """From how many of the first frames the activations with a suffix are; 0 where there are none."""
    shapes = [array.shape for name, array in golden.items() if name.startswith("layer/") and name.endswith(suffix)]
    return max((shape[1] if len(shape) > 2 else shape[0] // streams for shape in shapes), default=0)


def layers(network: nn.Module, shape: tuple[int, int], golden: Arrays, run: Callable[[], object]) -> Arrays:
    """The activations of the modules that the file names, while ``run`` shows the network (streams, frames) of this shape."""
    names = {key.split("/")[1].removesuffix("_f64") for key in golden if key.startswith("layer/")}
    seen: dict[str, Tensor] = {}
    hooks = []
    for name in sorted(names):

        def keep(module: Any, inputs: Any, out: Any, name: str = name) -> None:
            seen[name] = (out if isinstance(out, Tensor) else out[0]).detach()

        hooks.append(network.get_submodule(name).register_forward_hook(keep))
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    ours: Arrays = {}
    for name, out in seen.items():
        if out.ndim >= 4:  # convolutions: some entries a frame, and their mean and deviation
            out = out.transpose(1, 2) if out.ndim == 5 else out  # over time, too: frames before channels
            flat = out.reshape(shape[0] * shape[1], -1)
            chosen = np.random.default_rng([9, 64]).integers(0, flat.shape[1], 64)
            ours[name] = flat[:, chosen].numpy()
            wide = flat.double()
            ours[f"{name}/stats"] = torch.stack([wide.mean(1), wide.std(1, correction=0)], 1).numpy()
        else:
            kept = golden[f"layer/{name}"].shape[-1]  # the files keep the first entries of wide layers
            ours[name] = out.numpy().reshape(*shape, -1)[..., :kept]
    return ours
