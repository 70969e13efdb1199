"""What a policy is made of, and the presets: VPT's three published sizes and small ones for small machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data.frame_inputs import InputShape, Resize
from data.json_config import JsonConfig, preset_of

Stem = Literal["image", "motion"]


@dataclass(frozen=True)
class PolicyConfig(JsonConfig):
    """The shape of a policy. Defaults are those that all published policies share."""

    hidden: int = 1024
    heads: int = 8
    layers: int = 4
    stem: Stem = "image"
    """``image`` is VPT's: the image trunk sees one frame. ``motion`` is ours for little play and small machines: a far smaller
    trunk, which is told the optical flow from the frame before (prior/nn/motion_stem.py)."""
    trunk_channels: tuple[int, ...] = (64, 128, 128)
    """Channels of the trunk's stacks; each halves the picture."""
    image_size: tuple[int, int] = (128, 128)
    """Height and width to which frames are scaled."""
    resize: Resize = "bilinear"
    """How frames are scaled: ``bilinear`` is VPT's (cv2.INTER_LINEAR), ``area`` does not alias."""
    flow_size: tuple[int, int] = (180, 320)
    """Size at which optical flow is computed (``motion`` stem only)."""
    flow_grid: tuple[int, int] = (18, 32)
    """Cells to which the flow is pooled (``motion`` stem only)."""
    stem_channels: int = 32
    """Channels of the picture and of the flow before the trunk (``motion`` stem only)."""
    fovea: bool = False
    """Look at the middle of the picture at full size, too (``motion`` stem only)."""
    memory: int = 128
    """Frames that are remembered; each frame sees itself and memory - 1 earlier ones."""
    chunk: int = 128
    """Frames at a time in training (the published ``timesteps``)."""
    mlp_ratio: int = 4
    mlp_relu: bool = False
    """Whether a ReLU ends each block's feed-forward part (``pointwise_use_activation``; no published model does)."""
    temperature: float = 2.0
    rate: int = 20
    """Frames per second that the policy plays at."""

    def __post_init__(self) -> None:
        for name in ("trunk_channels", "image_size", "flow_size", "flow_grid"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.hidden % self.heads:
            raise ValueError(f"hidden size {self.hidden} is not a multiple of {self.heads} attention heads")
        if self.memory < 1:
            raise ValueError(f"memory must be at least 1 frame, got {self.memory}")
        _ = self.inputs  # raises for a flow that cannot be

    @property
    def inputs(self) -> InputShape:
        """How it wants its frames."""
        if self.stem == "motion":
            return InputShape(self.image_size, self.resize, self.rate, self.flow_size, self.flow_grid, self.fovea)
        return InputShape(self.image_size, self.resize, self.rate)


def vpt(width: int) -> PolicyConfig:
    """The published policy of a width: 1, 2 or 3 times."""
    channels = (64 * width, 128 * width, 128 * width)
    return PolicyConfig(hidden=1024 * width, heads=8 * width, trunk_channels=channels)


PRESETS: dict[str, PolicyConfig] = {
    "debug": PolicyConfig(
        hidden=32, heads=2, layers=1, trunk_channels=(4, 8), image_size=(32, 32), memory=8, chunk=8, temperature=1.0
    ),
    "debug_motion": PolicyConfig(
        stem="motion", resize="area", image_size=(36, 64), flow_size=(72, 128), flow_grid=(9, 16), stem_channels=8,
        trunk_channels=(8, 16), hidden=32, heads=2, layers=1, fovea=True, memory=8, chunk=8, temperature=1.0,
    ),
    "luanti_small": PolicyConfig(
        stem="motion", resize="area", image_size=(72, 128), trunk_channels=(48, 64), hidden=256, heads=4, layers=2,
        fovea=True, memory=8, chunk=64, temperature=1.0,
    ),
    "vpt_1x": vpt(1),
    "vpt_2x": vpt(2),
    "vpt_3x": vpt(3),
}  # fmt: skip
"""``debug`` and ``debug_motion`` are for tests; ``luanti_small`` learns the embedded game on two cores; ``vpt_1x``,
``vpt_2x`` and ``vpt_3x`` are the published models."""


def preset(name: str) -> PolicyConfig:
    """A preset by name; a wrong name is answered with the nearest right one."""
    return preset_of(PRESETS, name, "policy")
