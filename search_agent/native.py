"""The compiled half of exact search (distances.c): built on first use with the machine's C compiler, then kept.

Where there is no compiler, or it fails, search works with torch, at about a seventh of the speed.
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

from data.files import cache_folder

SOURCE = Path(__file__).with_name("distances.c")
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-shared", "-fPIC")
_SIZE, _COUNT, _POINTER = ctypes.c_ssize_t, ctypes.c_int64, ctypes.c_void_p


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None where it cannot be built (said once as a warning). VPT_NATIVE=0 leaves it out."""
    if os.environ.get("VPT_NATIVE") == "0":
        return None
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        _say("no C compiler (cc): exact search takes about seven times as long; `vpt doctor` says what mends it")
        return None
    try:
        loaded = ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        _say(f"the fast distances do not build here, torch's are used: {said}")
        return None
    loaded.vpt_distances.argtypes = [_POINTER, _POINTER, _COUNT, _COUNT, _SIZE, _POINTER, _SIZE, ctypes.c_int, _POINTER]
    loaded.vpt_distances.restype = None
    return loaded


def _say(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _built(compiler: str) -> Path:
    """The library for this source, these flags and this processor; moved into place whole."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpuinfo = ""
    processor = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), platform.processor())
    digest = hashlib.sha256("\n".join([SOURCE.read_text(), *FLAGS, processor]).encode()).hexdigest()[:16]
    path = cache_folder() / f"distances-{digest}.so"
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        subprocess.run([compiler, *FLAGS, "-o", part, SOURCE, "-lm"], check=True, capture_output=True, text=True)
        part.replace(path)
    return path
