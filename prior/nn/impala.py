"""IMPALA residual trunk: one image to one vector, frame by frame (Espeholt et al. 2018, as in VPT's lib/impala_cnn.py).

Everything costly in VPT happens here (97-99 % of the operations) and nothing here looks at time, so the vectors of a
frame can be computed once and kept.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.nn.layers import FanIn, conv, dense
from prior.nn.linear import version
from prior.nn.native import library
from prior.nn.packed import TILE, Layer, PackedStack, frames_at_once, pack_conv
from prior.nn.precision import cpu_multiplies_bfloat16

BLOCKS = 2
"""Residual blocks in each stack."""


class ResidualBlock(nn.Module):
    """(N, C, H, W) -> the same: x + two normed 3x3 convolutions, the branch ending in a ReLU."""

    def __init__(self, channels: int, init_scale: float) -> None:
        super().__init__()
        self.conv0 = conv(channels, channels, init_scale=math.sqrt(init_scale))
        self.conv1 = conv(channels, channels, init_scale=math.sqrt(init_scale))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv1(self.conv0(x))
        return out


class DownStack(nn.Module):
    """(N, C, H, W) -> (N, C_out, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int, init_scale: float, first_norm: bool) -> None:
        super().__init__()
        self.firstconv = conv(inputs, outputs, norm=first_norm)
        self.n = nn.GroupNorm(1, outputs)
        self.blocks = nn.ModuleList(ResidualBlock(outputs, init_scale) for _ in range(BLOCKS))

    def pack(self, library: ctypes.CDLL, dtype: torch.dtype) -> PackedStack:
        def packed(part: FanIn) -> Layer:
            return pack_conv(library, part.layer, getattr(part, "norm", None), dtype)  # type: ignore[arg-type]

        blocks = [(packed(block.conv0), packed(block.conv1)) for block in self.blocks]  # type: ignore[arg-type]
        return PackedStack(library, packed(self.firstconv), self.n, blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.n(F.max_pool2d(self.firstconv(x), 3, 2, 1))
        for block in self.blocks:
            x = block(x)
        return x


class ImpalaCNN(nn.Module):
    """(N, C, H, W) float in [0, 1] (or features of a stem) -> (N, 256)."""

    def __init__(
        self, image: tuple[int, int, int], channels: Sequence[int], first_norm: bool, outputs: int = 256
    ) -> None:
        super().__init__()
        height, width, inputs = image
        self.image, self.widest = (height, width), max(channels[0], inputs)
        scale = math.sqrt(3) / math.sqrt(BLOCKS)
        stacks = []
        for index, count in enumerate(channels):
            stacks.append(DownStack(inputs, count, scale, first_norm or index > 0))
            inputs, height, width = count, (height + 1) // 2, (width + 1) // 2
        self.stacks = nn.ModuleList(stacks)
        self._packed: list[PackedStack] | None = None
        self._watched: list[tuple[Tensor, int]] = []
        self.dense = dense(inputs * height * width, outputs, init_scale=1.4)

    def pack(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        """Make ready for inference on a CPU (prior/nn/packed.py), multiplying in ``dtype``: keeps its own copy of the
        convolutions' weights."""
        whole = TILE * 2 ** len(self.stacks)
        if self.image[0] % whole == 0 and self.image[1] % whole == 0:  # else pictures do not divide into tiles
            self._packed = [stack.pack(library, dtype) for stack in self.stacks]  # type: ignore[operator]
            self._watched = [(p, version(p)) for p in self.stacks.parameters()]

    @property
    def packed(self) -> bool:
        """Whether the next call takes the packed way: not with gradients, and not once the weights have changed."""
        if self._packed is not None and (
            torch.is_grad_enabled() or any(version(p) != then for p, then in self._watched)
        ):
            self._packed = None  # an optimizer's step need not count as a version, but it needs gradients
        return self._packed is not None

    def keep_packed(self, packed: list[PackedStack] | None) -> None:
        """Go on with what was packed of these very weights before they changed their type."""
        self._packed = packed
        self._watched = [(p, version(p)) for p in self.stacks.parameters()]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None, "_watched": []}  # copies and pickles are plain

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> ImpalaCNN:
        self._packed = None  # the weights move or change their type
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> ImpalaCNN:
        if mode:
            self._packed = None  # the weights are about to change
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != self.image:
            raise ValueError(
                f"pictures are {tuple(x.shape[2:])} (height, width); this network was made for {self.image}"
            )
        if self.packed and len(x):
            x = self._packed_stacks(x).to(self.dense.layer.weight.dtype)  # type: ignore[arg-type]
        else:
            for stack in self.stacks:
                x = stack(x)
        out: Tensor = self.dense(torch.flatten(x, 1))
        return out

    def _packed_stacks(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C' * h * w), in float32 whatever the type of the weights."""
        assert self._packed is not None
        x_NHWC, chunk = x.permute(0, 2, 3, 1), frames_at_once(x.shape[2], x.shape[3], self.widest)
        done = []
        for start in range(0, len(x), chunk):
            part = x_NHWC[start : start + chunk].float().contiguous()
            for stack in self._packed:
                part = stack(part)
            done.append(part.permute(0, 3, 1, 2).flatten(1))
        return torch.cat(done)


class ImageTrunk(nn.Module):
    """(N, C, H, W) -> (N, D)."""

    def __init__(self, image: tuple[int, int, int], channels: Sequence[int], hidden: int, first_norm: bool) -> None:
        super().__init__()
        self.cnn = ImpalaCNN(image, channels, first_norm)
        self.linear = dense(256, hidden)

    @property
    def input_dtype(self) -> torch.dtype:
        """In which type pictures are best given: the weights' own, or float32 where the trunk computes in that."""
        weight: Tensor = self.linear.layer.weight  # type: ignore[assignment]
        return torch.float32 if self.cnn.packed else weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.cnn(x))
        return out

    def for_inference(self, dtype: torch.dtype) -> None:
        """Make fast where it lies: packed on CPUs that can (prior/nn/packed.py), channels-last elsewhere.

        What is packed multiplies in bfloat16 if that is asked for and faster, else in float32; the rest becomes ``dtype``.
        """
        native = library() if next(self.parameters()).is_cpu and dtype != torch.float64 else None
        if native is None:
            self.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            return
        half = dtype == torch.bfloat16 and cpu_multiplies_bfloat16()
        self.cnn.pack(native, torch.bfloat16 if half else torch.float32)
        packed = self.cnn._packed
        self.to(dtype)
        self.cnn.keep_packed(packed)


def ready_for_inference(network: nn.Module, trunk: ImageTrunk, dtype: torch.dtype) -> None:
    """Turn a network into ``dtype``, its image trunk by :meth:`ImageTrunk.for_inference`. Parameters stay the same objects."""
    trunk.for_inference(dtype)
    packed = trunk.cnn._packed
    network.to(dtype)  # drops what is packed
    trunk.cnn.keep_packed(packed)
