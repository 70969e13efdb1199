"""The compiled half of exact search (distances.c): built on first use with the machine's C compiler, then kept.

Where there is no compiler, or it fails, search works with torch, at about a seventh of the speed.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from data.compiled import compiled

SOURCE = Path(__file__).with_name("distances.c")
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-shared", "-fPIC")
_SIZE, _COUNT, _POINTER = ctypes.c_ssize_t, ctypes.c_int64, ctypes.c_void_p


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None where it cannot be built (said once as a warning). VPT_NATIVE=0 leaves it out."""
    slow = "exact search takes about seven times as long"
    arguments = [_POINTER, _POINTER, _COUNT, _COUNT, _SIZE, _POINTER, _SIZE, ctypes.c_int, _POINTER]
    failed = "the fast distances do not build here, torch's are used"
    return compiled(SOURCE, FLAGS, slow, failed, {"vpt_distances": arguments})
