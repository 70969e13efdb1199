"""Reading and writing whole files wherever they lie (see data/stores.py): what a job writes its results with.

Written files are whole or absent, and as long as they should be. Errors that may pass are tried again; the last one
is an OSError that names the URL, the number of tries and the cause.
"""

from __future__ import annotations

import errno
import hashlib
import io
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

from data.files import PART_MARK, atomic_path
from data.stores import ChangedError, Place, find_below, local_path, look, look_once, open_store, patiently

_ATOMIC_PUT = {"s3", "s3a", "gs", "gcs", "hf"}
"""Stores where an upload shows when it is complete, or never."""

_BLOCK = 8 << 20


def put(local: Path, url: str, retries: int = 3, pause_s: float = 1.0) -> None:
    """Copy a local file to ``url``, whole or not at all; what was there before is replaced.

    Of several at once, one wins. A process that is killed may leave a hidden ``.*.part*`` beside it, which
    :func:`list_files` does not show. Raises FileNotFoundError if ``local`` is missing, OSError after the last try.
    """
    final = local_path(url)
    if not local.is_file():
        raise FileNotFoundError(errno.ENOENT, f"no such file to write to {url}", str(local))
    attempt = (lambda: _put_local(local, final)) if final else (lambda: _put_remote(local, url))
    patiently(url, "written", attempt, retries, pause_s)


def put_bytes(content: bytes, url: str, retries: int = 3, pause_s: float = 1.0) -> None:
    """Write a small file; otherwise as :func:`put`."""
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "content"
        local.write_bytes(content)
        put(local, url, retries, pause_s)


def exists(url: str, retries: int = 3, pause_s: float = 1.0) -> bool:
    """Whether there is a file. Raises OSError when the store cannot be asked: that is no answer."""
    found = look(url, retries, pause_s)
    return found is not None and not found.is_folder


def size(url: str, retries: int = 3, pause_s: float = 1.0) -> int:
    """Bytes of a file. Raises FileNotFoundError; OSError if the store does not say."""
    found = look(url, retries, pause_s)
    if found is None or found.is_folder:
        raise FileNotFoundError(errno.ENOENT, "no such file", url)
    if found.size is None:
        raise OSError(errno.EIO, f"{url}: the store does not say how large it is")
    return found.size


def sha256(url: str, retries: int = 3, pause_s: float = 1.0) -> str:
    """The SHA-256 of a file's bytes as 64 hex digits, read in blocks. Raises as :func:`open_read`."""
    digest = hashlib.sha256()
    with open_read(url, retries, pause_s) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def list_files(url: str, retries: int = 3, pause_s: float = 1.0) -> Iterator[tuple[str, int]]:
    """URL and bytes (-1 if the store does not say) of each file below a folder, sorted; unfinished ones left out.

    Nothing if there is no such folder: most stores have none. Raises OSError when one cannot be listed.
    """
    for found in find_below(url, None, retries, pause_s):
        if not _is_part(PurePosixPath(found.url).name):
            yield found.url, -1 if found.size is None else found.size


@contextmanager
def open_read(url: str, retries: int = 3, pause_s: float = 1.0) -> Iterator[BinaryIO]:
    """A file to read and seek in, which after an error goes on where it was.

    Raises FileNotFoundError; from reading, OSError after the last try (tries are counted anew after each success) or
    when the file ends early, and ChangedError (an OSError) when it was replaced meanwhile.
    """
    path = local_path(url)
    if path is not None:
        with path.open("rb") as file:
            yield file
        return
    with _ResumingFile(url, retries, pause_s) as raw, io.BufferedReader(raw, 1 << 20) as stream:
        yield stream


class _ResumingFile(io.RawIOBase):
    """A file in a store, opened again where reading fails; short reads are read on."""

    def __init__(self, url: str, retries: int, pause_s: float) -> None:
        super().__init__()
        found = look(url, retries, pause_s)
        if found is None or found.is_folder:
            raise FileNotFoundError(errno.ENOENT, "no such file", url)
        self._url, self._retries, self._pause_s = url, retries, pause_s
        self._place, self._found = open_store(url), found
        self._file: Any = None
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._found.size is not None

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self._found.size is None:
            raise io.UnsupportedOperation("the store does not say how large the file is")
        self._at = max(0, offset + (0, self._at, self._found.size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        if self._found.size is not None:
            wanted = min(wanted, self._found.size - self._at)
        if wanted <= 0:
            return 0
        data = patiently(self._url, "read", lambda: self._read(wanted), self._retries, self._pause_s)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, wanted: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._place.fs.open(self._place.path, "rb", block_size=_BLOCK)
                if self._at and look_once(self._url, self._place).stamp != self._found.stamp:
                    raise ChangedError(errno.EIO, f"{self._url}: replaced while it was read; read it again")
            if self._file.tell() != self._at:
                self._file.seek(self._at)
            data: bytes = self._file.read(wanted)
            if not data and self._found.size is not None:
                raise OSError(errno.EIO, f"it ended after {self._at:,} of {self._found.size:,} bytes")
            return data
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        file, self._file = self._file, None
        with suppress(Exception):  # all that was wanted of it has been read
            if file is not None:
                file.close()

    def close(self) -> None:
        self._drop()
        super().close()


def _put_local(local: Path, final: Path) -> None:
    with atomic_path(final) as part:
        shutil.copyfile(local, part)
        _require_size(str(final), part.stat().st_size, local)


def _put_remote(local: Path, url: str) -> None:
    place = open_store(url)
    if place.protocol in _ATOMIC_PUT:
        place.fs.put_file(str(local), place.path)
    else:
        folder, _, name = place.path.rpartition("/")
        part = place._replace(path=f"{folder}/.{secrets.token_hex(8)}{PART_MARK}{PurePosixPath(name).suffix}")
        try:
            place.fs.put_file(
                str(local), part.path
            )  # where this fails, fsspec may leave half a file: not under our name
            _require_size(url, look_once(url, part).size, local)
            _move(part, place)
        except BaseException:
            with suppress(Exception):
                place.fs.rm_file(part.path)
            raise
    _require_size(url, look_once(url, place).size, local)


def _move(part: Place, final: Place) -> None:
    """Rename where the store can. Elsewhere fsspec's mv would read ``[`` and ``*`` in names as patterns."""
    if type(final.fs).mv is not AbstractFileSystem.mv:
        final.fs.mv(part.path, final.path)
    else:
        final.fs.cp_file(part.path, final.path)
        final.fs.rm_file(part.path)


def _require_size(url: str, found: int | None, local: Path) -> None:
    expected = local.stat().st_size
    if found is not None and found != expected:
        raise OSError(errno.EIO, f"{url}: expected {expected:,} bytes there after writing, found {found:,}")


def _is_part(name: str) -> bool:
    return name.startswith(".") and PART_MARK in name
