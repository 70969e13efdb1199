"""MineCLIP's published files (``attn.pth``, ``avg.pth``): which of their names is which of our tensors.

The published module registers CLIP three times, so that its file has 788 names of 334 tensors. All names are looked at: where
two names of one tensor have different values, the file is refused. Nothing in the file is executed
(prior/published_files.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from data.files import sha256_file
from data.frame_inputs import InputShape
from prior.published_files import load_into, read_weights
from prior.text.embedding.embedder import TorchEmbedder
from prior.text.embedding.mineclip import MEAN, STD, MineClip, MineClipConfig
from prior.text.embedding.tokens import tokens_of

RATE = 20
"""Frames a second that STEVE-1 embeds at."""

_ALIASES = (("reward_head.clip_model.", "clip_model."), ("image_encoder.", "clip_model.vision_model."))
_LAYERS = "temporal_encoder.attn.model.attn_layers.layers."
_RULES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"clip_model\.(vision|text)_model\.blocks\.(.*)", r"\1.transformer.resblocks.\2"),
        (r"clip_model\.(vision|text)_model\.pos_embed", r"\1.positional_embedding"),
        (r"clip_model\.vision_model\.cls_token", "vision.class_embedding"),
        (r"clip_model\.vision_model\.projection", "vision.proj"),
        (r"clip_model\.text_model\.projection", "text.text_projection"),
        (r"clip_model\.(vision|text)_model\.(.*)", r"\1.\2"),
        (r"clip_model\.logit_scale", "logit_scale"),
        (r"temporal_encoder\.attn\.model\.pos_emb\.emb\.weight", "temporal.places"),
        (r"temporal_encoder\.attn\.model\.norm\.(.*)", r"temporal.norm.\1"),
        (r"reward_head\.video_adapter\.0\.(.*)", r"adapter.0.\1"),
        (r"reward_head\.video_adapter\.3\.(.*)", r"adapter.2.\1"),
        (r"reward_head\.video_residual_weight", "video_residual_weight"),
    )
)
_PARTS = (
    {"0.0": "attention_norm", "1.to_q": "to_q", "1.to_k": "to_k", "1.to_v": "to_v", "1.to_out": "to_out"},
    {"0.0": "feed_norm", "1.net.0.proj": "feed_in", "1.net.3": "feed_out"},
)
"""Of a layer: the published code counts its attention and its feed-forward part as two layers."""


def canonical_name(published: str) -> str:
    """The one of a tensor's names that counts, such as ``clip_model.vision_model.cls_token``."""
    name = published.removeprefix("model.")
    for alias, meant in _ALIASES:
        if name.startswith(alias):
            return meant + name.removeprefix(alias)
    return name


def our_name(canonical: str) -> str:
    """The name in :class:`MineClip`; one that is not MineCLIP's stays as it is."""
    if canonical.startswith(_LAYERS):
        index, _, rest = canonical.removeprefix(_LAYERS).partition(".")
        part, _, leaf = rest.rpartition(".")
        if index.isdigit() and part in _PARTS[int(index) % 2]:
            return f"temporal.layers.{int(index) // 2}.{_PARTS[int(index) % 2][part]}.{leaf}"
    for pattern, name in _RULES:
        if match := pattern.fullmatch(canonical):
            return match.expand(name)
    return canonical


def canonical_tensors(tensors: Mapping[str, Tensor], source: Path | str) -> dict[str, Tensor]:
    """A file's tensors, each once. Raises ValueError where two names of one tensor differ."""
    found: dict[str, Tensor] = {}
    differ = []
    for published, tensor in tensors.items():
        name = canonical_name(published)
        other = found.setdefault(name, tensor)
        if other.data_ptr() != tensor.data_ptr() and not torch.equal(other, tensor):
            differ.append(published)
    if differ:
        raise ValueError(
            f"{source}: {len(differ)} tensors differ from those that they should be other names of, such as {differ[0]} and "
            f"{canonical_name(differ[0])}; the file is damaged or was changed, get it again"
        )
    return found


def load_mineclip(path: Path | str, config: MineClipConfig | None = None, device: str = "cpu") -> MineClip:
    """The network of a published file, or of one with our names (safetensors). Which variant it is the file tells.

    Raises ValueError, listing them, where tensors are missing, unknown or of another shape.
    """
    found = canonical_tensors(read_weights(path), path)
    tensors = {our_name(name): tensor for name, tensor in found.items()}
    if not any(name.startswith(("vision.", "text.")) for name in tensors):
        raise ValueError(
            f"{path} holds no MineCLIP: expected names such as model.clip_model.vision_model.cls_token, found {_some(found)}; "
            "give MineCLIP's attn.pth or avg.pth"
        )
    config = config or MineClipConfig(pool="attn" if any(name.startswith("temporal.") for name in tensors) else "avg")
    with torch.device("meta"):
        network = MineClip(config)
    load_into(network, tensors, path)
    network.text.attn_mask = network.text.build_causal_mask()  # never saved
    return network.to(device).eval()


class GoalTowers:
    """MineCLIP as STEVE-1 takes it: clips without the adapter that comes before they are compared with texts."""

    def __init__(self, network: MineClip) -> None:
        self.features, self.pooled, self.texts = network.features, network.goals, network.texts


def mineclip_embedder(
    path: Path | str, device: str = "cpu", config: MineClipConfig | None = None, goals: bool = False
) -> TorchEmbedder:
    """The :class:`Embedder` of a published file; goals: see :func:`embedder_of`."""
    kind = "steve1" if goals else "mineclip"
    return embedder_of(
        load_mineclip(path, config, device), f"{kind}:{path}", f"{kind} {sha256_file(path)}", goals, device
    )


def embedder_of(
    network: MineClip, name: str, key: str, goals: bool = False, device: str = "cpu", block: int = 16
) -> TorchEmbedder:
    """The :class:`Embedder` of a network on ``device``; goals: of the vectors that STEVE-1's published weights were trained
    with, neither adapted nor of length 1."""
    config = network.config
    return TorchEmbedder(
        name,
        key,
        GoalTowers(network) if goals else network,
        lambda texts: tokens_of(texts, config.context, "mineclip"),
        InputShape(config.image_size, "bilinear", RATE),
        (config.dims, config.dims),
        mean=MEAN,
        std=STD,
        longest=config.longest if network.temporal is not None else None,
        normalised=not goals,
        device=device,
        block=block,
    )


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
