"""Local copies of remote files, shared by the processes of one machine and bounded in bytes.

In the folder, KEY being a hash of URL and stamp:

    KEY.mp4        a whole copy; whoever uses it holds a shared lock on it, and its mtime is when it was last used
    KEY.mp4.part   being downloaded, as large from its start as it will be, so that others count the room it needs
    KEY.mp4.lock   locked by the one process that downloads KEY.mp4; the others wait for it
    room           locked by the one process that makes room

Locks are flock's: the kernel drops them with the process that held them, however it ended. A lock counts only while its
file is still the one of that name (a file that waits for its lock may have been removed meanwhile).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data.download import Patience, discard, download
from data.remote_files import open_read
from data.stores import ChangedError, Found, local_path, look, protocol_of

_BLOCK = 4 << 20
_PART, _LOCK = ".part", ".lock"


class _Copy(NamedTuple):
    path: Path
    size: int
    used_ns: int


class Scratch:
    """A folder of local copies. Nothing else may be kept in it. May be made anew in each process, with the same limit.

    limit_bytes: copies in use by nobody are removed, the longest unused first, until all fit; those in use are not, so
    several large ones at once, or one larger than the limit, exceed it while they are used. retries, pause_s: see
    data/stores.py. The folder must be on a disk of this machine, with flock.
    """

    def __init__(self, folder: Path, limit_bytes: int, retries: int = 3, pause_s: float = 1.0) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"{folder}: expected a limit of 1 byte or more for local copies, found {limit_bytes}")
        self._folder, self._limit = folder, limit_bytes
        self._retries, self._pause_s = retries, pause_s
        self._too_full = False
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def local(self, url: str, stamp: str) -> Iterator[Path]:
        """The file on this machine for the length of the block: a local one itself, a remote one's copy (read it only).

        stamp: what names this version (data/sources.py); "" asks the store first. Remote files are downloaded once,
        whoever asks and however many at once. Raises FileNotFoundError if the store has none, OSError naming URL, tries
        and cause if it cannot be had, or when the disk is full; from web addresses ValueError (data/download.py).
        """
        path = local_path(url)
        if path is not None:
            yield path
            return
        copy = self._folder / _key(url, stamp or self._look(url).stamp)
        while (used := _hold(copy, fcntl.LOCK_SH)) is None and (used := self._download(url, copy)) is None:
            pass  # another process brought it, or removed it again
        try:
            os.utime(used)
            yield copy
            os.utime(used)
        finally:
            os.close(used)
            if self._too_full:
                self._make_room()

    def _look(self, url: str) -> Found:
        if protocol_of(url) in ("http", "https"):
            return Found(url, None, "")
        found = look(url, self._retries, self._pause_s)
        if found is None or found.is_folder:
            raise FileNotFoundError(errno.ENOENT, "no such file", url)
        return found

    def _download(self, url: str, copy: Path) -> int | None:
        """Bring it here, unless another process just did. Returns it open and in use; None: look again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock_path = copy.with_name(copy.name + _LOCK)
        lock = _hold(lock_path, fcntl.LOCK_EX, os.O_CREAT)
        if lock is None:
            return None
        part = copy.with_name(copy.name + _PART)
        try:
            if copy.exists():
                return None
            if protocol_of(url) in ("http", "https"):
                self._from_web(url, part)
            else:
                self._from_store(url, part)
            used = os.open(part, os.O_RDWR)
            fcntl.flock(used, fcntl.LOCK_SH)  # before it has its name: never there and yet nobody's
            part.replace(copy)
            return used
        finally:
            discard(part)
            lock_path.unlink(missing_ok=True)
            os.close(lock)

    def _from_store(self, url: str, part: Path) -> None:
        found = self._look(url)
        self._make_room(part, found.size or 0)
        arrived = 0
        with part.open("r+b", buffering=0) as file, open_read(url, self._retries, self._pause_s) as stream:
            while block := stream.read(_BLOCK):
                self._write(url, file, block)
                arrived += len(block)
        if found.size not in (None, arrived) or self._look(url) != found:
            raise ChangedError(errno.EIO, f"{url}: replaced while it was read; read it again")

    def _write(self, url: str, file: FileIO, block: bytes) -> None:
        left = memoryview(block)
        while left:
            try:
                left = left[file.write(left) :]
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                if not (full and self._make_room(need=self._limit)):  # all that nobody uses, before giving up
                    told = f"cannot write a copy of {url}: {error.strerror}; free space there or choose another folder"
                    raise OSError(error.errno or errno.EIO, told, str(self._folder)) from error

    def _from_web(self, url: str, part: Path) -> None:
        self._make_room()
        download(url, part, Patience(attempts=self._retries + 1, pause_s=self._pause_s))

    def _make_room(self, part: Path | None = None, need: int = 0) -> int:
        """Remove what is longest unused until ``need`` more bytes fit, and what dead processes left. Returns the bytes.

        part: made, ``need`` bytes long, before anyone else counts.
        """
        with self._one_at_a_time():
            copies, total = self._count()
            freed = 0
            for copy in sorted(copies, key=lambda copy: (copy.size <= self._limit, copy.used_ns)):
                if total - freed + need <= self._limit:
                    break
                freed += _remove_unused(copy)
            if part is not None:
                with part.open("wb") as file:
                    file.truncate(need)
            self._too_full = total - freed + need > self._limit
            return freed

    def _count(self) -> tuple[list[_Copy], int]:
        """The whole copies, and the bytes of all there is."""
        for lock_path in list(self._folder.glob(f"*{_LOCK}")):
            _remove_if_dead(lock_path)
        copies, total = [], 0
        for path in self._folder.iterdir():
            try:
                said = path.stat()
            except FileNotFoundError:
                continue
            total += said.st_size
            if path.suffix not in (_PART, _LOCK) and re.fullmatch(r"[0-9a-f]{40}(\.[a-z0-9]+)?", path.name):
                copies.append(_Copy(path, said.st_size, said.st_mtime_ns))
        return copies, total

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        room = os.open(self._folder / "room", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(room, fcntl.LOCK_EX)
            yield
        finally:
            os.close(room)


def _key(url: str, stamp: str) -> str:
    """A copy's file name: it keeps the suffix, by which libraries guess formats."""
    suffix = PurePosixPath(url.split("?")[0]).suffix.lower()
    digest = hashlib.sha256(f"{url}\0{stamp}".encode("utf-8", "surrogatepass")).hexdigest()
    return digest[:40] + (suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) and suffix not in (_PART, _LOCK) else "")


def _hold(path: Path, kind: int, flags: int = 0) -> int | None:
    """The file, open and locked; None if it is not there, or not any more, or (with LOCK_NB) locked by another."""
    try:
        file = os.open(path, os.O_RDWR | flags, 0o666)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, kind)
        if os.path.samestat(os.fstat(file), path.stat()):
            return file
    except (FileNotFoundError, BlockingIOError):
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _remove_unused(copy: _Copy) -> int:
    held = _hold(copy.path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if held is None:
        return 0
    try:
        copy.path.unlink(missing_ok=True)
        return copy.size
    finally:
        os.close(held)


def _remove_if_dead(lock_path: Path) -> None:
    """Remove what a download left if the process is gone, which is when its lock can be had."""
    held = _hold(lock_path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if held is None:
        return
    try:
        with suppress(OSError):
            discard(lock_path.with_suffix(_PART))
            lock_path.unlink(missing_ok=True)
    finally:
        os.close(held)
