"""The image trunk made ready for inference on a CPU.

3x3 convolutions go by Winograd's method F(4x4, 3x3) (Lavin & Gray 2015, arXiv 1509.09308): a tile of 4x4 outputs takes 36
multiplications a channel pair instead of 144. The multiplications are matrix products, torch's; the transforms before
and after are ours (winograd.c), with the norm, the ReLU and the skip path done on the way. In float32 that is about 2.3
times as fast as the plain layers, and outputs differ from theirs by some 1e-5 of their scale. A bfloat16 trunk multiplies
in bfloat16 and does everything else in float32, which rounds about 1.3 times as much away as plain bfloat16 layers do;
where the processor does not multiply bfloat16 faster, it multiplies in float32, too.

Shape suffixes: N frames, H height, W width, C channels in, O channels out, P tiles.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prior.nn.native import LANES, address

TILE, PRODUCTS = 4, 36
FEWEST_CHANNELS = 32
"""With fewer channels the transforms cost more than the method saves."""
_GROUP_BYTES = 4 * 2**20
"""Tiles are worked on in groups whose products stay in the processor's cache."""
_CHUNK_BYTES = 140 * 2**20
"""Frames are worked on in chunks whose largest layer takes no more than this."""

_POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)
"""Where the polynomials are evaluated, beside infinity; winograd.c says why there."""


def _weight_matrix() -> Tensor:
    """(6, 3) in float64: a row of powers for each point, over the product of its distances to the others."""
    rows = []
    for point in _POINTS:
        distance = math.prod(point - other for other in _POINTS if other != point)
        rows.append([1 / distance, point / distance, point**2 / distance])
    return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)


def transform_weight(weight_OCHW: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """(O, C, 3, 3) -> (36, C, O), computed in float64."""
    g = _weight_matrix()
    out = torch.einsum("ai,bj,ocij->abco", g, g, weight_OCHW.double())
    return out.reshape(PRODUCTS, *out.shape[2:]).to(dtype).contiguous()


class _Scratch(threading.local):
    """Memory that is used again and again; fresh memory costs more than what is computed in it."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, torch.dtype], Tensor] = {}

    def get(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        count, key = math.prod(shape), (name, dtype)
        if key not in self.kept or self.kept[key].numel() < count:
            with torch.inference_mode(False):  # it outlives this call, which may be in that mode or not
                self.kept[key] = torch.empty(count, dtype=dtype)
        return self.kept[key][:count].view(shape)


_scratch = _Scratch()


class WinogradConv:
    """Norm -> 3x3 convolution, zero-padded -> ReLU [-> plus skip], all in one."""

    def __init__(
        self, library: ctypes.CDLL, layer: nn.Conv2d, norm: nn.GroupNorm | None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.library, self.weight_36CO = library, transform_weight(layer.weight.detach(), dtype)
        channels = layer.in_channels
        self.norm = norm is not None
        self.epsilon = norm.eps if norm is not None else 0.0
        self.gamma = norm.weight.detach().float().clone() if norm is not None else torch.ones(channels)
        self.beta = norm.bias.detach().float().clone() if norm is not None else torch.zeros(channels)

    def __call__(self, x_NHWC: Tensor, skip_NHWC: Tensor | None = None) -> Tensor:
        frames, height, width, channels = x_NHWC.shape
        _require(x_NHWC, (frames, height, width, self.weight_36CO.shape[1]))
        if skip_NHWC is not None:
            _require(skip_NHWC, (frames, height, width, self.weight_36CO.shape[2]))
        outputs, call = self.weight_36CO.shape[2], self.library
        scale, shift = _scratch.get("scale", frames, channels), _scratch.get("shift", frames, channels)
        if self.norm:
            sizes = (frames, height * width, channels)
            weights = (address(self.gamma), address(self.beta), self.epsilon)
            call.vpt_norm(address(x_NHWC), *sizes, *weights, address(scale), address(shift))
        else:
            scale.copy_(self.gamma.expand_as(scale))
            shift.zero_()
        y_NHWO = torch.empty(frames, height, width, outputs)
        tiles = frames * height * width // TILE**2
        dtype, half = self.weight_36CO.dtype, int(self.weight_36CO.dtype == torch.bfloat16)
        group = max(16, _GROUP_BYTES // (dtype.itemsize * PRODUCTS * max(channels, outputs)))
        for first in range(0, tiles, group):
            last = min(first + group, tiles)
            products = _scratch.get("products", PRODUCTS, last - first, channels, dtype=dtype)
            sums = _scratch.get("sums", PRODUCTS, last - first, outputs, dtype=dtype)
            where = (height, width, channels, first, last)
            call.vpt_into(address(x_NHWC), address(scale), address(shift), *where, address(products), half)
            torch.bmm(products, self.weight_36CO, out=sums)
            where = (height, width, outputs, first, last)
            call.vpt_back(address(sums), *where, address(skip_NHWC), address(y_NHWO), half)
        return y_NHWO


def _require(x_NHWC: Tensor, shape: tuple[int, ...]) -> None:
    """What the compiled code takes for granted. Whoever breaks it would read and write other memory."""
    assert tuple(x_NHWC.shape) == shape and x_NHWC.is_contiguous() and x_NHWC.dtype == torch.float32, x_NHWC.shape
    assert shape[1] % TILE == 0 and shape[2] % TILE == 0, shape


def _kept(norm: nn.GroupNorm) -> tuple[Tensor, Tensor, float]:
    return norm.weight.detach().float().clone(), norm.bias.detach().float().clone(), norm.eps


class PlainConv:
    """The same with torch's convolution, for layers that the other cannot do: few channels, or a bias."""

    def __init__(self, layer: nn.Conv2d, norm: nn.GroupNorm | None) -> None:
        self.weight = layer.weight.detach().float().clone(memory_format=torch.channels_last)
        self.bias = None if layer.bias is None else layer.bias.detach().float().clone()
        self.norm = None if norm is None else _kept(norm)

    def __call__(self, x_NHWC: Tensor, skip_NHWC: Tensor | None = None) -> Tensor:
        x = x_NHWC.permute(0, 3, 1, 2)
        if self.norm is not None:
            x = F.group_norm(x, 1, *self.norm)
        y = F.conv2d(x, self.weight, self.bias, padding=1).relu_().permute(0, 2, 3, 1)
        return (y if skip_NHWC is None else y.add_(skip_NHWC)).contiguous()


Layer = Callable[..., Tensor]


def pack_conv(library: ctypes.CDLL, layer: nn.Conv2d, norm: nn.GroupNorm | None, dtype: torch.dtype) -> Layer:
    """The faster of the two for a layer of 3x3, stride 1."""
    fewest = min(layer.in_channels, layer.out_channels)
    whole = layer.in_channels % LANES == 0 and layer.out_channels % LANES == 0
    if layer.bias is None and whole and fewest >= FEWEST_CHANNELS:
        return WinogradConv(library, layer, norm, dtype)
    return PlainConv(layer, norm)


class PackedStack:
    """One stack of the trunk: convolution, pooling, norm, residual blocks. (N, H, W, C) -> (N, H/2, W/2, O)."""

    def __init__(
        self, library: ctypes.CDLL, first: Layer, norm: nn.GroupNorm, blocks: Sequence[tuple[Layer, Layer]]
    ) -> None:
        self.library, self.first, self.blocks = library, first, blocks
        self.norm = _kept(norm)

    def __call__(self, x_NHWC: Tensor) -> Tensor:
        pooled = self._pool(self.first(x_NHWC)).permute(0, 3, 1, 2)
        x_NHWC = F.group_norm(pooled, 1, *self.norm).permute(0, 2, 3, 1).contiguous()
        for conv0, conv1 in self.blocks:
            x_NHWC = conv1(conv0(x_NHWC), x_NHWC)
        return x_NHWC

    def _pool(self, x_NHWC: Tensor) -> Tensor:
        frames, height, width, channels = x_NHWC.shape
        if channels % LANES:
            return F.max_pool2d(x_NHWC.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)
        y_NHWC = torch.empty(frames, height // 2, width // 2, channels)
        self.library.vpt_pool(address(x_NHWC), frames, height, width, channels, address(y_NHWC))
        return y_NHWC


def frames_at_once(height: int, width: int, channels: int) -> int:
    """How many frames to work on together, given the size of the largest layer."""
    return max(1, _CHUNK_BYTES // (4 * height * width * channels))
