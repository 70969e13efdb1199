"""Compiles the lock-step shim on first use and finds the programs that the game needs."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from data.files import cache_folder

GAME = Path("/usr/games/minetest")
SUPPORTED = "5.6."
INSTALL = "apt-get install --no-install-recommends minetest minetest-data xvfb libgl1-mesa-dri gcc libc6-dev"
SOURCES = sorted(Path(__file__).parent.glob("lockstep*.[ch]"))


class LuantiUnavailable(RuntimeError):  # noqa: N818 - the name that says it best
    """The game cannot run on this machine; the message says what is missing and how to get it."""


def missing_requirements() -> list[str]:
    """What the game needs and this machine lacks, one sentence each; empty when all is there."""
    missing = []
    if not GAME.exists():
        missing.append(f"{GAME} (Debian packages minetest, minetest-data)")
    if not Path("/usr/share/games/minetest/games/minetest_game").is_dir():
        missing.append("the game content minetest_game (Debian package minetest-data)")
    for program, package in (("Xvfb", "xvfb"), ("cc", "gcc"), ("setarch", "util-linux"), ("setpriv", "util-linux")):
        if shutil.which(program) is None:
            missing.append(f"the program {program} (Debian package {package})")
    return missing


@functools.cache
def check_available() -> None:
    """Raises LuantiUnavailable unless every requirement is there and the game has the version that the shim knows."""
    missing = missing_requirements()
    if missing:
        raise LuantiUnavailable(f"Luanti cannot run here: missing {'; '.join(missing)}. On Debian 12: {INSTALL}")
    said = subprocess.run([GAME, "--version"], capture_output=True, text=True, timeout=30).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    if found is None or not found[0].startswith(SUPPORTED):
        raise LuantiUnavailable(
            f"{GAME} is version {found[0] if found else said.strip()!r}, but the lock-step shim hooks the X11 build of"
            f" {SUPPORTED}x (newer builds use SDL2). Install Debian 12's packages: {INSTALL}"
        )


@functools.cache
def can_fix_addresses() -> bool:
    """Whether address randomisation may be switched off here (some containers forbid it)."""
    return subprocess.run(["setarch", "-R", "true"], capture_output=True).returncode == 0


def shim_library() -> Path:
    """The compiled shim; built on first use, named after its sources's hash, moved into place whole."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()[:16]
    library = cache_folder() / f"lockstep-{digest}.so"
    if not library.exists():
        part = library.with_name(f"{library.name}.{os.getpid()}.part")
        command = [
            "cc",
            "-O2",
            "-shared",
            "-fPIC",
            "-o",
            str(part),
            *(str(path) for path in SOURCES if path.suffix == ".c"),
            "-ldl",
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise LuantiUnavailable(f"the lock-step shim ({SOURCES[0].parent}) does not compile:\n{result.stderr}")
        part.replace(library)
    return library
