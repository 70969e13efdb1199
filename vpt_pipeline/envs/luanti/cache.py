"""Where compiled shims and generated worlds are kept between runs, and where a running game keeps its files."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.files import cache_folder

RUN_PREFIX = "vpt-luanti-"
MEMORY_FOLDER = Path("/dev/shm")
MEMORY_NEEDED = 256 << 20
"""Bytes that have to be free in memory before run folders go there (a run uses some 10 MB)."""


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock that all processes share; the kernel frees it when its holder ends, however it ends."""
    with (cache_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def new_run_folder() -> Path:
    """A fresh folder for one game's files, in memory where there is room. Folders of dead owners are swept first."""
    in_memory = MEMORY_FOLDER.is_dir() and os.access(MEMORY_FOLDER, os.W_OK)
    roomy = in_memory and shutil.disk_usage(MEMORY_FOLDER).free > MEMORY_NEEDED
    parent = MEMORY_FOLDER if roomy else Path(tempfile.gettempdir())
    for folder in parent.glob(f"{RUN_PREFIX}*"):
        owner = folder.name.removeprefix(RUN_PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{RUN_PREFIX}{os.getpid()}-", dir=parent))


class FolderGuard:
    """Removes a folder when this process ends in any way, even killed: a child waits for our end of a pipe to close."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = 'cat >/dev/null; for try in 1 2 3; do rm -rf -- "$1" && exit; sleep 0.3; done'
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", script, "guard", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def remove(self) -> None:
        """Remove the folder now."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.wait()
