"""A store whose operations fail at seeded random moments: ``flaky://``, the least that fsspec promises.

It lies in a folder, so that several processes share it. What is being written shows at once, and half-written files
stay; renaming fails before or after it happened; reading stops short; what was once said of a file is said
again until it is told to forget.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fsspec  # type: ignore[import-untyped]
from fsspec import AbstractFileSystem


class FailingFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """folder: where the files lie. chance: of a failure at each moment. failed: how often which moment failed.

    opened: a file that gets a line for each file opened, by any process. slow_s: waited before each read."""

    protocol = "flaky"
    cachable = False
    folder = Path()
    chance = 0.0
    dice = random.Random(0)
    opened: Path | None = None
    slow_s = 0.0
    failed: ClassVar[Counter[str]] = Counter()
    remembered: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def maybe_fail(cls, moment: str) -> None:
        if cls.dice.random() < cls.chance:
            cls.failed[moment] += 1
            raise cls.dice.choice([OSError, ConnectionResetError, TimeoutError, RuntimeError])(f"{moment} failed")

    def _at(self, path: str) -> Path:
        return self.folder / self._strip_protocol(path).strip("/")

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        self.maybe_fail("ls")
        top = self._strip_protocol(path).strip("/")
        with os.scandir(self._at(path)) as entries:
            found = [self._info(f"{top}/{entry.name}".strip("/")) for entry in entries]
        self.dice.shuffle(found)
        return found if detail else [info["name"] for info in found]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        self.maybe_fail("info")
        name = self._strip_protocol(path).strip("/")
        if name not in self.remembered:
            self.remembered[name] = self._info(name)
        return self.remembered[name]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.remembered.clear()

    def _info(self, name: str) -> dict[str, Any]:
        said = (self.folder / name).stat()
        kind = "directory" if (self.folder / name).is_dir() else "file"
        return {"name": name, "size": said.st_size, "type": kind, "mtime": said.st_mtime_ns}

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._at(path).mkdir(parents=True, exist_ok=True)

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.maybe_fail("mv")
        self._at(path1).replace(self._at(path2))
        self.maybe_fail("mv that was done")

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        raise NotImplementedError

    def _rm(self, path: str) -> None:
        self.maybe_fail("rm")
        self._at(path).unlink()

    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> _FailingFile:
        self.maybe_fail("open")
        if self.opened is not None:
            with self.opened.open("a") as log:  # one short line at the end of a file is written as a whole
                log.write(f"{mode} {os.getpid()}\n")
        return _FailingFile(self._at(path), mode, self)


class _FailingFile:
    def __init__(self, path: Path, mode: str, fs: FailingFileSystem) -> None:
        self._file, self._fs = path.open(mode, buffering=0), fs

    def read(self, count: int = -1) -> bytes:
        time.sleep(self._fs.slow_s)
        self._fs.maybe_fail("read")
        if count > 1 and self._fs.dice.random() < self._fs.chance:
            self._fs.failed["whole read"] += 1
            count = self._fs.dice.randrange(count)
        return self._file.read(count)

    def write(self, data: bytes) -> int:
        half = self._fs.dice.randrange(len(data) + 1)
        self._file.write(data[:half])
        self._fs.maybe_fail("write")
        self._file.write(data[half:])
        return len(data)

    def close(self) -> None:
        self._file.close()
        self._fs.maybe_fail("close")

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, at: int) -> int:
        return self._file.seek(at)

    def __enter__(self) -> _FailingFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextmanager
def failing_store(folder: Path, chance: float = 0.0, seed: int = 0) -> Iterator[type[FailingFileSystem]]:
    """``flaky://`` lies in ``folder`` and fails so often, for the length of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    fsspec.register_implementation("flaky", FailingFileSystem, clobber=True)
    FailingFileSystem.folder, FailingFileSystem.chance = folder, chance
    FailingFileSystem.dice, FailingFileSystem.failed = random.Random(seed), Counter()
    FailingFileSystem.remembered.clear()
    try:
        yield FailingFileSystem
    finally:
        FailingFileSystem.chance, FailingFileSystem.slow_s, FailingFileSystem.opened = 0.0, 0.0, None
