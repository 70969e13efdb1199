"""Small C files that make the package fast: built on first use with the machine's C compiler, then kept.

Nothing depends on them: where there is no compiler, or it fails, callers take a slower way, and a warning says so once.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import atomic_path, cache_folder


def compiled(
    source: Path, flags: Sequence[str], slow: str, failed: str, functions: Mapping[str, Sequence[Any]]
) -> ctypes.CDLL | None:
    """The library of a C file, or None where it cannot be built. VPT_NATIVE=0 leaves it out, without a word.

    slow: what is slow without a compiler; failed: what does not build, and what is used instead; both for the warning.
    functions: the types of their arguments (ctypes), by name; they return nothing.
    """
    if os.environ.get("VPT_NATIVE") == "0":
        return None
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        _say(f"no C compiler (cc): {slow}; `vpt doctor` says what mends it")
        return None
    try:
        library = ctypes.CDLL(str(_built(compiler, source, flags)))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        _say(f"{failed}: {said}")
        return None
    for name, arguments in functions.items():
        function = getattr(library, name)
        function.argtypes, function.restype = list(arguments), None
    return library


def _say(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def _built(compiler: str, source: Path, flags: Sequence[str]) -> Path:
    """The library for this source, these flags and this processor; moved into place whole."""
    processor = next((line for line in _cpuinfo().splitlines() if line.startswith("flags")), platform.processor())
    digest = hashlib.sha256("\n".join([source.read_text(), *flags, processor]).encode()).hexdigest()[:16]
    path = cache_folder() / f"{source.stem}-{digest}.so"
    if not path.exists():
        with atomic_path(path) as part:  # a search's threads may all be first
            subprocess.run([compiler, *flags, "-o", part, source, "-lm"], check=True, capture_output=True, text=True)
    return path


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
