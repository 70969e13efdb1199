"""How the C library hands memory back: by default at once, and every large tensor is new pages from the kernel."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Let this process reuse what tensors free instead of giving it back and asking for it again.

    On CPUs, training small policies and labelling else spend much of their time on new pages. The process keeps the
    memory of its peak. Where the C library is not glibc, nothing happens.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        library.mallopt(_M_TOP_PAD, 64 << 20)
