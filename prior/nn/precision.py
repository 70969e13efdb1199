"""Which numbers to compute in: bfloat16 where the hardware multiplies it faster, float32 elsewhere."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def uses_bfloat16(precision: Precision, device: str) -> bool:
    """Whether to compute in bfloat16: ``auto`` does where it is faster (Ampere or newer GPUs, CPUs with AVX512-BF16)."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision is {precision!r}; expected auto, float32 or bfloat16")
    if precision != "auto":
        return precision == "bfloat16"
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return cpu_multiplies_bfloat16()


@functools.cache
def cpu_multiplies_bfloat16() -> bool:
    """Whether this processor multiplies matrices of bfloat16 faster than those of float32 (AVX512-BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "bf16" in flags and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
