"""Made-up networks, frames and clips for tests of the embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prior.text.embedding.clip_data import Film
from prior.text.embedding.mineclip import MineClip, MineClipConfig
from prior.text.embedding.pairs import TextClip

TINY = MineClipConfig(
    image_size=(32, 48), width=32, layers=1, heads=2, text_width=32, text_layers=1, text_heads=2, dims=32,
    temporal_layers=2, temporal_heads=2, longest=8,
)  # fmt: skip
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220), "white": (230, 230, 230)}


def noise(count: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def tiny_mineclip(config: MineClipConfig = TINY) -> MineClip:
    torch.manual_seed(0)
    return MineClip(config).eval()


def published_names(network: MineClip) -> dict[str, Tensor]:
    """A network's tensors as MineCLIP's authors name them, all aliases included: the reverse of what the package does."""
    named: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        for side in ("vision", "text"):
            if name.startswith(f"{side}."):
                rest = name.removeprefix(f"{side}.").replace("transformer.resblocks.", "blocks.")
                rest = {
                    "class_embedding": "cls_token", "positional_embedding": "pos_embed", "proj": "projection",
                    "text_projection": "projection",
                }.get(rest, rest)  # fmt: skip
                name = f"clip_model.{side}_model.{rest}"
        if name.startswith("temporal.layers."):
            _, _, layer, part, leaf = name.split(".")
            where = {
                "attention_norm": "0.0.0",
                "feed_norm": "1.0.0",
                "feed_in": "1.1.net.0.proj",
                "feed_out": "1.1.net.3",
            }
            at = where.get(part, f"0.1.{part}")
            name = f"layers.{2 * int(layer) + int(at[0])}{at[1:]}.{leaf}"
            name = f"temporal_encoder.attn.model.attn_layers.{name}"
        name = name.replace("temporal.norm", "temporal_encoder.attn.model.norm")
        name = name.replace("temporal.places", "temporal_encoder.attn.model.pos_emb.emb.weight")
        name = name.replace("adapter.2", "adapter.3")
        name = f"reward_head.video_{name}" if name.startswith("adapter") else name
        name = f"reward_head.{name}" if name == "video_residual_weight" else name
        named["clip_model.logit_scale" if name == "logit_scale" else name] = tensor
    for name, tensor in list(named.items()):
        if name.startswith("clip_model."):
            named[f"reward_head.{name}"] = tensor
        if name.startswith("clip_model.vision_model."):
            named[name.replace("clip_model.vision_model", "image_encoder")] = tensor
    return named


def save_published(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}}, path)
    return path


def coloured_films(count: int, size: tuple[int, int] = (24, 32), clips: int = 8, length: int = 6) -> list[Film]:
    """Films of clips in one colour each, with a sentence that names it, on noise."""
    films, names = [], list(COLOURS)
    for number in range(count):
        rng = np.random.default_rng(number)
        images, told = noise(clips * length, size, number), []
        for clip in range(clips):
            name = names[int(rng.integers(len(names)))]
            images[clip * length : (clip + 1) * length, 4:20, 6:26] = COLOURS[name]
            texts = (f"a {name} box", f"the player sees something {name}", f"{name}")
            told.append(TextClip(Path(f"f{number}.mp4"), clip * length, length, texts, name))
        films.append(Film(Path(f"f{number}.mp4"), "", images, tuple(told)))
    return films
