"""The compiled half of the fast convolutions (winograd.c): built on first use with the machine's C compiler, then kept.

Where there is no compiler, or it fails, everything still works with torch's own convolutions, at about half the speed.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import warnings
from pathlib import Path

from torch import Tensor

from data.files import cache_folder

SOURCE = Path(__file__).with_name("winograd.c")
FLAGS = ("-O3", "-march=native", "-std=c11", "-fopenmp", "-shared", "-fPIC")
LANES = 16
"""Channels come in multiples of this."""
_SIZE, _POINTER = ctypes.c_ssize_t, ctypes.c_void_p


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None where it cannot be built (said once as a warning). VPT_NATIVE=0 leaves it out."""
    if os.environ.get("VPT_NATIVE") == "0":
        return None
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        _say("no C compiler (cc): networks run at about half the speed on this CPU; `vpt doctor` says what mends it")
        return None
    try:
        loaded = ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        _say(f"the fast convolutions do not build here, torch's own are used: {said}")
        return None
    loaded.vpt_norm.argtypes = [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _POINTER, ctypes.c_double, _POINTER, _POINTER]
    loaded.vpt_into.argtypes = [_POINTER, _POINTER, _POINTER, *[_SIZE] * 5, _POINTER, ctypes.c_int]
    loaded.vpt_back.argtypes = [_POINTER, *[_SIZE] * 5, _POINTER, _POINTER, ctypes.c_int]
    loaded.vpt_pool.argtypes = [_POINTER, *[_SIZE] * 4, _POINTER]
    for function in (loaded.vpt_norm, loaded.vpt_into, loaded.vpt_back, loaded.vpt_pool):
        function.restype = None
    return loaded


def _say(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _built(compiler: str) -> Path:
    """The library for this source, these flags and this processor; moved into place whole."""
    processor = next((line for line in _cpuinfo().splitlines() if line.startswith("flags")), platform.processor())
    digest = hashlib.sha256("\n".join([SOURCE.read_text(), *FLAGS, processor]).encode()).hexdigest()[:16]
    path = cache_folder() / f"winograd-{digest}.so"
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        subprocess.run([compiler, *FLAGS, "-o", part, SOURCE, "-lm"], check=True, capture_output=True, text=True)
        part.replace(path)
    return path


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
