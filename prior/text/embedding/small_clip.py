"""A CLIP small enough to be trained on two cores, of open_clip's modules: sixteen frames, and how each differs from the last.

A vision transformer looks at each frame beside its change since the one before (six channels: what is there, and what moves),
once, or in its place the trunk of a behavioural prior (prior/text/embedding/trunk.py); a transformer over the window's frames
follows, added to what it was given and averaged (CLIP4Clip's sequential type, Luo et al. 2021, arXiv 2104.08860), or the plain
mean. The first frame of a window serves as the one before the second alone,
so that an embedding does not depend on what came before the window, and frames are computed once however many windows they
are in.

Contrastive training leaves clips in one narrow cone and texts in another (Liang et al. 2022, arXiv 2203.02053), which ranks as
well but is a poor space for goals: what a policy is to tell apart is small beside what all have in common. So a trained network
counts from the middle of each (``centre``).

Shape suffixes: T frames, N clips or texts, L frames of a clip, D dims, C tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.files import sha256_file, write_json_atomic
from data.frame_inputs import InputShape
from data.json_config import JsonConfig, preset_of
from prior.checkpoint import from_pretrained, write_safetensors
from prior.config import PolicyConfig
from prior.locate import CONFIG, WEIGHTS, find_model
from prior.published_files import load_into, read_weights
from prior.text.embedding.clip_modules import open_clip
from prior.text.embedding.embedder import TorchEmbedder
from prior.text.embedding.tokens import VOCABULARY, tokens_of
from prior.text.embedding.trunk import FrozenTrunk, TrunkEmbedder

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class SmallClipConfig(JsonConfig):
    """image_size, patch: (height, width). frames: of a clip, at rate a second. context: tokens of a text. trunk: the policy
    whose trunk looks at frames in place of a vision transformer (image_size to heads are then of no use); trunk_key: tells
    its weights apart."""

    image_size: tuple[int, int] = (72, 128)
    patch: tuple[int, int] = (12, 16)
    width: int = 128
    layers: int = 3
    heads: int = 4
    text_width: int = 128
    text_layers: int = 2
    text_heads: int = 4
    context: int = 32
    dims: int = 128
    pool: Literal["attention", "mean"] = "attention"
    frames: int = 16
    rate: int = 20
    trunk: PolicyConfig | None = None
    trunk_key: str = ""

    def __post_init__(self) -> None:
        if self.trunk is not None and self.trunk.rate != self.rate:
            raise ValueError(f"clips at {self.rate} frames a second, and a trunk that looks at {self.trunk.rate}")
        for name in ("image_size", "patch"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if any(side % part for side, part in zip(self.image_size, self.patch, strict=True)):
            raise ValueError(f"image_size {self.image_size} is not a whole number of patches of {self.patch}")
        if self.frames < 2:
            raise ValueError(f"a clip has at least 2 frames, got {self.frames}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "config") -> SmallClipConfig:
        """See :class:`JsonConfig`."""
        if (trunk := values.get("trunk")) is not None:
            values = {**values, "trunk": PolicyConfig.from_dict(trunk, f"{source}, trunk")}
        return super().from_dict(values, source)

    @property
    def inputs(self) -> InputShape:
        if self.trunk is not None:
            return self.trunk.inputs
        return InputShape(self.image_size, "area", self.rate)


PRESETS: dict[str, SmallClipConfig] = {
    "luanti_small": SmallClipConfig(),
    "debug": SmallClipConfig(
        image_size=(24, 32), patch=(12, 16), width=32, layers=1, heads=2, text_width=32, text_layers=1, text_heads=2,
        context=16, dims=32, frames=6,
    ),
}  # fmt: skip
"""``luanti_small`` learns the embedded game on two cores; ``debug`` is for tests."""


def preset(name: str) -> SmallClipConfig:
    """A preset by name; a wrong name is answered with the nearest right one."""
    return preset_of(PRESETS, name, "CLIP")


CENTRES = ("clip_centre", "text_centre")


class SmallClip(nn.Module):
    """See the module's docstring."""

    clip_centre: Tensor
    text_centre: Tensor

    def __init__(self, config: SmallClipConfig) -> None:
        super().__init__()
        c = self.config = config
        parts = open_clip().transformer
        if c.trunk is None:
            self.vision = parts.VisionTransformer(
                c.image_size, c.patch, c.width, c.layers, c.heads, 4.0, output_dim=c.dims, pool_type="avg"
            )
            self.vision.conv1 = nn.Conv2d(6, c.width, c.patch, c.patch, bias=False)
        else:
            self.trunk = FrozenTrunk(c.trunk)
            self.inward = nn.Linear(FrozenTrunk.dims(c.trunk), c.dims)
        self.text = parts.TextTransformer(
            c.context, VOCABULARY, c.text_width, c.text_heads, c.text_layers, output_dim=c.dims
        )
        if c.pool == "attention":
            self.places = nn.Parameter(0.02 * torch.randn(c.frames, c.dims))
            self.temporal = parts.Transformer(c.dims, 1, max(1, c.dims // 32))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        for name in CENTRES:
            self.register_buffer(name, torch.zeros(c.dims))

    def features(self, images_T6HW: Tensor) -> Tensor:
        """-> (T, D)."""
        out: Tensor = self.vision(images_T6HW)
        return out

    def pooled(self, features_NLD: Tensor) -> Tensor:
        """Whole windows -> (N, D); the first frame is only the one before the second."""
        if features_NLD.shape[1] == 1:
            return self.pooled_of(features_NLD, torch.zeros(1, dtype=torch.long, device=features_NLD.device))
        places = torch.arange(1, features_NLD.shape[1], device=features_NLD.device)
        return self.pooled_of(features_NLD[:, 1:], places)

    def pooled_of(self, features_NLD: Tensor, places_L: Tensor) -> Tensor:
        """Some frames of windows -> (N, D). places: which of a window's frames they are, the same for all."""
        pooled = features_NLD if self.config.trunk is None else self.inward(features_NLD)
        if self.config.pool == "attention":
            pooled = pooled + self.temporal(pooled + self.places[places_L])
        return F.normalize(pooled.mean(1), dim=-1) - self.clip_centre

    def texts(self, tokens_NC: Tensor) -> Tensor:
        """-> (N, D)."""
        return F.normalize(self.text(tokens_NC), dim=-1) - self.text_centre

    def centre(self, clips_ND: Tensor, texts_ND: Tensor) -> None:
        """Count from the middle of these embeddings from now on."""
        self.clip_centre += clips_ND.mean(0)
        self.text_centre += texts_ND.mean(0)

    def tokens(self, texts: Sequence[str], warn: bool = True) -> Tensor:
        """int64 (N, C). warn: where one is cut."""
        return tokens_of(texts, self.config.context, warn=warn)


def save_clip(folder: Path, network: SmallClip) -> None:
    """Write ``config.json`` and ``model.safetensors``; each is complete or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / CONFIG, network.config.to_dict())
    write_safetensors(folder / WEIGHTS, network)


def load_clip(folder: Path, device: str = "cpu") -> SmallClip:
    """The network of a folder of `vpt train-clip`. Raises ValueError where the folder holds something else."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} does not exist; expected a folder that `vpt train-clip` has finished")
    config = SmallClipConfig.read(folder / CONFIG)
    with torch.device("meta"):
        network = SmallClip(config)
    tensors = read_weights(folder / WEIGHTS)
    for name in CENTRES:  # files of before there were any
        tensors.setdefault(name, torch.zeros(config.dims))
    load_into(network, tensors, folder / WEIGHTS)
    network.text.attn_mask = network.text.build_causal_mask()  # never saved
    return network.to(device).eval()


def clip_embedder(folder: Path, device: str = "cpu") -> TorchEmbedder:
    """The :class:`Embedder` of a folder of `vpt train-clip`; its name holds wherever it is asked for."""
    network, key = load_clip(folder, device), f"clip {sha256_file(folder / WEIGHTS)}"
    return embedder_of(network, f"clip:{folder.absolute()}", key, device)


def with_trunk(config: SmallClipConfig, source: str) -> SmallClip:
    """A network of random weights that looks with the trunk of a policy: a folder of `vpt train-prior`, or a published .model
    with its .weights. Raises ValueError for anything else."""
    policy, key = from_pretrained(source), sha256_file(find_model(source).weights)
    made = SmallClip(replace(config, trunk=policy.config, trunk_key=key, rate=policy.config.rate))
    made.trunk.stem.load_state_dict(policy.net.img_process.state_dict())
    return made


def embedder_of(network: SmallClip, name: str, key: str, device: str = "cpu") -> TorchEmbedder:
    """The :class:`Embedder` of a network."""
    config, trunk = network.config, network.config.trunk
    dims = config.dims if trunk is None else FrozenTrunk.dims(trunk), config.dims
    about = (name, key, network, network.tokens, config.inputs, dims, config.frames)
    longest = config.frames if config.pool == "attention" else None
    if trunk is not None:
        feature_key = f"trunk {config.trunk_key}"
        return TrunkEmbedder(network.trunk, feature_key, *about, mean=MEAN, std=STD, longest=longest, device=device)
    return TorchEmbedder(*about, mean=MEAN, std=STD, sees_change=True, longest=longest, device=device)
