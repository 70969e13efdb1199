"""Pixels as motion stems take them: a frame beside how it differs from its neighbour.

On CPUs a table is looked up for each pixel (pixels.c); elsewhere, and without a C compiler, torch computes the same numbers.
Shape suffixes: N frames, H height, W width, C channels.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from data.compiled import compiled

SOURCE = Path(__file__).with_name("pixels.c")
FLAGS = ("-O3", "-march=native", "-std=c11", "-fopenmp", "-shared", "-fPIC")
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_ssize_t


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None where it cannot be built (said once as a warning). VPT_NATIVE=0 leaves it out."""
    slow = "motion stems train more slowly on this CPU"
    arguments = [_POINTER, _POINTER, _SIZE, _SIZE, _SIZE, ctypes.c_int, _POINTER, _POINTER, _POINTER]
    functions = {"vpt_pairs_16": arguments, "vpt_pairs_32": arguments}
    return compiled(SOURCE, FLAGS, slow, "the fast reading of pixels does not build here, torch's is used", functions)


def _level(shown: Tensor) -> Tensor:
    return shown.mul(1 / 255).sub_(0.5)


def _change(difference: Tensor) -> Tensor:
    return difference.mul(4 / 255)


@functools.cache
def _tables(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Of 256 levels and 511 differences. Whole numbers up to 256 are exact in bfloat16, and so are their differences."""
    return _level(torch.arange(256).to(dtype)), _change(torch.arange(-255, 256).to(dtype))


def pixel_pairs(shown_NHWC: Tensor, neighbour_NHWC: Tensor, ahead: bool, dtype: torch.dtype) -> Tensor:
    """uint8 (N, H, W, 3) twice -> (N, 6, H, W) of ``dtype``, channels last in memory: the levels about 0, and the change from
    the neighbour before (or to the neighbour ahead)."""
    native = library() if shown_NHWC.device.type == "cpu" and dtype.itemsize in (2, 4) else None
    if native is None:
        shown, neighbour = shown_NHWC.to(dtype), neighbour_NHWC.to(dtype)
        change = _change(neighbour - shown if ahead else shown - neighbour)
        return torch.cat([_level(shown), change], -1).permute(0, 3, 1, 2)
    shown, neighbour = _walkable(shown_NHWC), _walkable(neighbour_NHWC)
    level, change = _tables(dtype)
    out = torch.empty(*shown.shape[:3], 6, dtype=dtype)
    pairs = native.vpt_pairs_16 if dtype.itemsize == 2 else native.vpt_pairs_32
    pairs(
        shown.data_ptr(), neighbour.data_ptr(), shown[..., 0].numel(), shown.stride(2), neighbour.stride(2), ahead,
        level.data_ptr(), change.data_ptr(), out.data_ptr(),
    )  # fmt: skip
    return out.permute(0, 3, 1, 2)


def _walkable(pixels_NHWC: Tensor) -> Tensor:
    """The same pixels, one equally far after the other in memory, as slices of channels of a whole tensor are."""
    _, height, width, _ = pixels_NHWC.shape
    frame, row, pixel, channel = pixels_NHWC.stride()
    even = channel == 1 and row == width * pixel and frame == height * row
    return pixels_NHWC if even else pixels_NHWC.contiguous()
