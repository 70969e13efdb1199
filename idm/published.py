"""The published inverse dynamics model's keyword arguments and our config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from idm.config import IDMConfig, preset
from prior.published import FIXED, check_fixed, setting, temperature, trunk_channels


def idm_config(net: Mapping[str, Any], pi_head: Mapping[str, Any], source: str = "the .model file") -> IDMConfig:
    """Our config of a published IDM. net, pi_head: the keyword arguments of its network and of its action head.

    Raises ValueError for a network that is not VPT's inverse dynamics model.
    """
    check_fixed(net, source)
    stem = net.get("conv3d_params")
    if stem is None:
        raise ValueError(f"{source} has no conv3d_params: it describes a policy, not an inverse dynamics model")
    shape = {"inchan": 3, "kernel_size": [5, 1, 1], "padding": [2, 0, 0]}
    found = {key: list(stem[key]) if isinstance(stem.get(key), (list, tuple)) else stem.get(key) for key in shape}
    if found != shape:
        raise ValueError(f"{source}: conv3d_params are {found}, expected {shape}")
    if net.get("attention_mask_style") != "none":
        raise ValueError(f"{source}: attention_mask_style is {net.get('attention_mask_style')!r}, expected 'none'")
    window, memory = int(net["timesteps"]), int(setting(net, "attention_memory_size"))
    if memory != window:
        raise ValueError(
            f"{source}: attention_memory_size {memory} differs from timesteps {window}; no IDM has a memory"
        )
    if int(setting(net, "pointwise_ratio")) != 4 or setting(net, "pointwise_use_activation"):
        raise ValueError(f"{source}: pointwise_ratio must be 4 and pointwise_use_activation False")
    height, width, _ = net["img_shape"]
    return dataclasses.replace(
        preset("vpt_4x"),
        image_size=(int(height), int(width)),
        stem_channels=int(stem["outchan"]),
        trunk_channels=trunk_channels(net),
        hidden=int(setting(net, "hidsize")),
        heads=int(setting(net, "attention_heads")),
        layers=int(setting(net, "n_recurrence_layers")),
        temperature=temperature(pi_head),
        window=window,
    )


def idm_kwargs(config: IDMConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inverse of :func:`idm_config`. Raises ValueError for a model that the published code cannot build."""
    as_vpt = dataclasses.replace(
        preset("vpt_4x"),
        **{
            name: getattr(config, name) for name in ("image_size", "stem_channels", "trunk_channels", "hidden", "heads")
        },
        **{name: getattr(config, name) for name in ("layers", "temperature", "window")},
    )
    if config != as_vpt:
        other = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(as_vpt, f.name)]
        raise ValueError(
            f"this inverse dynamics model is not of VPT's kind ({', '.join(other)} differ); it has no published form"
        )
    net = {key: value for key, value in FIXED.items() if key != "scale_input_img"} | {
        "attention_heads": config.heads,
        "attention_mask_style": "none",
        "attention_memory_size": config.window,
        "conv3d_params": {"inchan": 3, "outchan": config.stem_channels, "kernel_size": [5, 1, 1], "padding": [2, 0, 0]},
        "hidsize": config.hidden,
        "img_shape": [*config.image_size, config.stem_channels],
        "impala_chans": list(config.trunk_channels),
        "impala_width": 1,
        "n_recurrence_layers": config.layers,
        "pointwise_ratio": 4,
        "pointwise_use_activation": False,
        "single_output": True,
        "timesteps": config.window,
    }
    return net, {"temperature": config.temperature}
