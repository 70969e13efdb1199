"""The published networks' keyword arguments (what a ``.model`` file holds) and our configs: a one-to-one mapping.

Only what some published model or its close relatives use is accepted. Anything else would load weights into a network
that computes something different, so it is a ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prior.config import PolicyConfig

FIXED: dict[str, Any] = {
    "diff_mlp_embedding": False,
    "impala_kwargs": {"post_pool_groups": 1},
    "init_norm_kwargs": {"batch_norm": False, "group_norm_groups": 1},
    "recurrence_is_residual": True,
    "recurrence_type": "transformer",
    "use_pointwise_layer": True,
    "use_pre_lstm_ln": False,
    "scale_input_img": True,
}
"""Settings with one value in every published model."""

_DEFAULTS = {
    "impala_width": 1,
    "impala_chans": (16, 32, 32),
    "hidsize": 512,
    "attention_heads": 8,
    "n_recurrence_layers": 1,
}
_DEFAULTS |= {"attention_memory_size": 2048, "pointwise_ratio": 4, "pointwise_use_activation": False}
_DEFAULTS_FIXED = {"diff_mlp_embedding": False, "scale_input_img": True, "recurrence_is_residual": True}
_DEFAULTS_FIXED |= {"use_pointwise_layer": True}


def check_fixed(net: Mapping[str, Any], source: str) -> None:
    """Raises ValueError where a network is built in a way that no published model is."""
    wrong = []
    for key, expected in FIXED.items():
        found = net.get(key, _DEFAULTS_FIXED.get(key))
        if isinstance(found, Mapping):
            found = dict(found)
        if found != expected:
            wrong.append(f"{key} is {found!r}, expected {expected!r}")
    if wrong:
        raise ValueError(f"{source} describes a network that is not VPT's: {'; '.join(wrong)}")


def setting(net: Mapping[str, Any], key: str) -> Any:
    """A keyword argument, or the published constructor's default for it."""
    return net.get(key, _DEFAULTS[key])


def trunk_channels(net: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(float(setting(net, "impala_width")) * count) for count in setting(net, "impala_chans"))


def temperature(pi_head: Mapping[str, Any]) -> float:
    return float(pi_head.get("temperature", 1.0))


def policy_config(net: Mapping[str, Any], pi_head: Mapping[str, Any], source: str = "the .model file") -> PolicyConfig:
    """Our config of a published policy. net, pi_head: the keyword arguments of its network and of its action head.

    Unknown keys (reinforcement learning adds some) are ignored, as the published code does. Raises ValueError for a
    network that is no VPT policy; an inverse dynamics model is named as such.
    """
    check_fixed(net, source)
    if net.get("conv3d_params") is not None:
        raise ValueError(f"{source} describes an inverse dynamics model (conv3d_params), not a policy")
    style = net.get("attention_mask_style", "clipped_causal")
    if style != "clipped_causal":
        raise ValueError(f"{source}: attention_mask_style is {style!r}, expected 'clipped_causal'")
    if "timesteps" not in net:
        raise ValueError(f"{source}: timesteps is missing, on which the length of the memory depends")
    height, width, channels = net.get("img_shape", (128, 128, 3))
    if channels != 3:
        raise ValueError(f"{source}: img_shape has {channels} channels, expected 3")
    return PolicyConfig(
        hidden=int(setting(net, "hidsize")),
        heads=int(setting(net, "attention_heads")),
        layers=int(setting(net, "n_recurrence_layers")),
        trunk_channels=trunk_channels(net),
        image_size=(int(height), int(width)),
        memory=int(setting(net, "attention_memory_size")) - int(net["timesteps"]),
        chunk=int(net["timesteps"]),
        mlp_ratio=int(setting(net, "pointwise_ratio")),
        mlp_relu=bool(setting(net, "pointwise_use_activation")),
        temperature=temperature(pi_head),
    )


def policy_kwargs(config: PolicyConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inverse of :func:`policy_config`: keyword arguments of the published network and of its action head.

    Raises ValueError for a policy that the published code cannot build.
    """
    if config.stem != "image" or config.resize != "bilinear":
        raise ValueError(
            f"a policy with the {config.stem} stem and {config.resize} scaling has no published form; expected VPT's image "
            "stem and bilinear scaling"
        )
    net = {key: value for key, value in FIXED.items() if key != "scale_input_img"} | {
        "attention_heads": config.heads,
        "attention_mask_style": "clipped_causal",
        "attention_memory_size": config.memory + config.chunk,
        "hidsize": config.hidden,
        "img_shape": [*config.image_size, 3],
        "impala_chans": list(config.trunk_channels),
        "impala_width": 1,
        "n_recurrence_layers": config.layers,
        "pointwise_ratio": config.mlp_ratio,
        "pointwise_use_activation": config.mlp_relu,
        "timesteps": config.chunk,
    }
    return net, {"temperature": config.temperature}
