"""The compiled half of the fast convolutions (winograd.c): built on first use with the machine's C compiler, then kept.

Where there is no compiler, or it fails, everything still works with torch's own convolutions, at about half the speed.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from torch import Tensor

from data.compiled import compiled

SOURCE = Path(__file__).with_name("winograd.c")
FLAGS = ("-O3", "-march=native", "-std=c11", "-fopenmp", "-shared", "-fPIC")
LANES = 16
"""Channels come in multiples of this."""
_SIZE, _POINTER = ctypes.c_ssize_t, ctypes.c_void_p


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None where it cannot be built (said once as a warning). VPT_NATIVE=0 leaves it out."""
    slow = "networks run at about half the speed on this CPU"
    functions = {
        "vpt_norm": [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _POINTER, ctypes.c_double, _POINTER, _POINTER],
        "vpt_into": [_POINTER, _POINTER, _POINTER, *[_SIZE] * 5, _POINTER, ctypes.c_int],
        "vpt_back": [_POINTER, *[_SIZE] * 5, _POINTER, _POINTER, ctypes.c_int],
        "vpt_pool": [_POINTER, *[_SIZE] * 4, _POINTER],
    }
    return compiled(SOURCE, FLAGS, slow, "the fast convolutions do not build here, torch's own are used", functions)


def address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
