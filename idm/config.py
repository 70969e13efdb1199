"""What an inverse dynamics model is made of, and the presets.

Two stems share everything behind them. ``conv3d`` is VPT's: a convolution over five frames' pixels. ``motion`` is ours
for little data and small machines: it is given the optical flow between neighbouring frames, so that it need not learn
what motion is, and a trunk small enough for two cores.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from data.frame_inputs import InputShape, Resize
from data.json_config import JsonConfig, preset_of

Stem = Literal["conv3d", "motion"]


@dataclass(frozen=True)
class IDMConfig(JsonConfig):
    """The shape of a model. Sizes are (height, width)."""

    stem: Stem = "motion"
    image_size: tuple[int, int] = (72, 128)
    """Size to which frames are scaled for the image trunk."""
    resize: Resize = "area"
    """How frames are scaled: ``bilinear`` is VPT's (cv2.INTER_LINEAR), ``area`` does not alias."""
    flow_size: tuple[int, int] = (180, 320)
    """Size at which optical flow is computed (``motion`` stem only)."""
    flow_grid: tuple[int, int] = (18, 32)
    """Cells to which the flow is pooled (``motion`` stem only)."""
    stem_channels: int = 32
    trunk_channels: tuple[int, ...] = (48, 64)
    hidden: int = 256
    heads: int = 4
    layers: int = 2
    attention_reach: int = 32
    """Frames back and ahead that the attention's relative bias reaches; 0 is VPT's: no order but the stem's."""
    temporal_layers: int = 2
    """Convolutions over time before the transformer (0 is VPT's)."""
    last_layer: bool = False
    """Whether the layer ``lastlayer`` of the published weights is used. The published code computes it and throws it away."""
    temperature: float = 1.0
    gui_head: bool = True
    """Whether the model also says if a GUI (inventory, menu) covers the frame; VPT's does not."""
    slot_head: bool = False
    """Whether it also learns to say which hotbar slot is selected, which every frame shows: the keys that change it are pressed
    a few times a minute, too seldom to learn to see slots by. VPT's does not."""
    camera_targets: Literal["bin", "two_bins"] = "two_bins"
    """``bin`` is VPT's: the nearest bin. ``two_bins`` shares a target between its two nearest bins, so that the expected
    turn is exact and not rounded to the bins."""
    window: int = 128
    """Frames that the transformer sees at once."""
    rate: int = 20
    """Frames per second that the model was trained on; video at other rates is resampled."""

    def __post_init__(self) -> None:
        for name in ("image_size", "flow_size", "flow_grid", "trunk_channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _ = self.inputs  # raises for a flow that cannot be

    @property
    def inputs(self) -> InputShape:
        """How it wants its frames."""
        if self.stem == "motion":
            return InputShape(self.image_size, self.resize, self.rate, self.flow_size, self.flow_grid)
        return InputShape(self.image_size, self.resize, self.rate)

    @property
    def halo(self) -> int:
        """Neighbouring frames on each side that a frame's features depend on."""
        return 2 if self.stem == "conv3d" else 1


_VPT = IDMConfig(
    stem="conv3d", image_size=(128, 128), resize="bilinear", attention_reach=0, temporal_layers=0, temperature=4.0,
    gui_head=False, camera_targets="bin",
)  # fmt: skip

PRESETS: dict[str, IDMConfig] = {
    "debug": IDMConfig(
        image_size=(36, 64), flow_size=(72, 128), flow_grid=(9, 16), stem_channels=8, trunk_channels=(8, 16), hidden=32,
        heads=2, layers=1, attention_reach=8, temporal_layers=1, window=32, slot_head=True,
    ),
    "luanti_small": IDMConfig(window=64, slot_head=True),
    "vpt_debug": dataclasses.replace(_VPT, stem_channels=4, trunk_channels=(4, 8, 8), hidden=32, heads=2, layers=1, window=32),
    "vpt_small": dataclasses.replace(_VPT, stem_channels=16, trunk_channels=(16, 32, 32), hidden=256, heads=4, layers=2),
    "vpt_4x": dataclasses.replace(_VPT, stem_channels=128, trunk_channels=(256, 512, 512), hidden=4096, heads=32, layers=2),
}  # fmt: skip
"""``debug`` and ``vpt_debug`` are for tests, ``luanti_small`` for two cores, ``vpt_4x`` is the published model."""


def preset(name: str) -> IDMConfig:
    """A preset by name; a wrong name is answered with the nearest right one."""
    return preset_of(PRESETS, name, "IDM")
