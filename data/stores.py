"""Files wherever they lie: a local path, or a URL of a store that fsspec knows (``s3://``, ``gs://``, ``hf://`` ...).

Local paths never go through fsspec, whose ``::`` and ``~`` have meanings that file names may not have. Neither are its
``find``, ``glob``, ``mv`` and ``rm`` used where they take errors for empty folders or names for patterns.
"""

from __future__ import annotations

import errno
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import fsspec  # type: ignore[import-untyped]

T = TypeVar("T")

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "az": "adlfs"}
_LISTED_FLAT = {"s3", "s3a", "gs", "gcs", "hf", "memory"}
"""Stores whose ``find`` is one listing of all keys, and fails as a whole. Elsewhere it skips folders it cannot list."""

_CONTENT = ("sha256", "md5Hash", "ETag", "etag", "blob_id", "content_md5", "checksum")
_TIME = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")

_LONGEST_PAUSE_S = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_FINAL = (UnicodeError, TypeError, ImportError, NotImplementedError, MemoryError)


class ChangedError(OSError):
    """The file was replaced while it was read."""


@dataclass(frozen=True)
class Found:
    """A file or folder. size: bytes, None if the store does not say. stamp: changes when the file does; "" if unknown."""

    url: str
    size: int | None
    stamp: str
    is_folder: bool = False


class Place(NamedTuple):
    """A URL taken apart. fs: fsspec's filesystem; path: what it calls the file."""

    protocol: str
    fs: Any
    path: str


def protocol_of(url: str) -> str | None:
    """``s3`` of ``s3://bucket/key``; None for a local path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.:-]+)://", url)
    return match[1].lower() if match else None


def local_path(url: str) -> Path | None:
    """The path of a local file (``file://`` taken off, nothing decoded), or None if ``url`` is of a store."""
    protocol = protocol_of(url)
    if protocol is None:
        return Path(url)
    return Path(url.split("://", 1)[1]) if protocol in ("file", "local") else None


def absolute(url: str) -> str:
    """What this file is known by: a URL as it is given, a local path absolute (links in it are not followed)."""
    path = local_path(url)
    return url if path is None else os.path.abspath(path)  # noqa: PTH100 (resolve would follow links)


@lru_cache(maxsize=64)
def require_protocol(protocol: str) -> Any:
    """fsspec's class for it. Raises ValueError if there is none, or if the package it needs is not installed."""
    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        what = f"`pip install {package}`" if package else str(error)
        raise ValueError(f"{protocol}:// needs a package that is not installed; {what}") from error
    except ValueError as error:
        known = "a local path, s3://, gs://, hf://, https:// or another that fsspec knows"
        raise ValueError(f"{protocol}:// is not known; expected {known}") from error


def open_store(url: str) -> Place:
    """Where a URL leads. Raises ValueError, naming it, for unknown protocols, missing packages and settings."""
    protocol = protocol_of(url)
    assert protocol is not None, url
    try:
        kind = require_protocol(protocol)
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error
    try:
        return Place(protocol, kind(**kind._get_kwargs_from_urls(url)), kind._strip_protocol(url))
    except (TypeError, ValueError, ImportError) as error:
        raise ValueError(f"{url}: this address cannot be opened ({error})") from error


def patiently(url: str, doing: str, attempt: Callable[[], T], retries: int, pause_s: float) -> T:
    """The result of ``attempt``, which is tried again after errors that may pass, with waits that double.

    doing: for the message, as in "could not be read". pause_s: before the second try. A few random tenths keep workers
    apart that failed together. Raises FileNotFoundError, PermissionError, ChangedError and the OSError of a full disk at
    once, ValueError for what no waiting helps, and after the last try OSError naming url, tries and cause.
    """
    last: Exception | None = None
    for number in range(retries + 1):
        if number:
            time.sleep(min(pause_s * 2 ** (number - 1), _LONGEST_PAUSE_S) * random.uniform(0.7, 1.3))
        try:
            return attempt()
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, f"no such file, or it vanished while being {doing}", url) from error
        except PermissionError as error:
            told = f"{url}: may not be {doing} ({error}); check the rights and the store's credentials"
            raise PermissionError(errno.EACCES, told) from error
        except (ChangedError, IsADirectoryError, NotADirectoryError):
            raise
        except _FINAL as error:
            raise ValueError(f"{url}: could not be {doing}: {_reason(error)}") from error
        except OSError as error:
            if error.errno in _FULL:
                raise
            last = error
        except Exception as error:  # stores' libraries have errors of their own for what passes
            last = error
    assert last is not None
    told = f"{url}: could not be {doing}: {retries + 1} tries failed, the last one because {_reason(last)}"
    raise OSError(errno.EIO, told) from last


def look(url: str, retries: int = 3, pause_s: float = 1.0) -> Found | None:
    """What the store says about a file or folder, None if there is neither. Raises OSError when it cannot be asked."""
    path = local_path(url)
    if path is not None:
        return _look_local(url, path)
    place = open_store(url)
    try:
        return patiently(url, "found", lambda: look_once(url, place), retries, pause_s)
    except FileNotFoundError:
        return None


def look_once(url: str, place: Place) -> Found:
    """What the store says about a URL now, not what fsspec remembers. Raises whatever the store's library raises."""
    place.fs.invalidate_cache(place.path)
    return _found(url, place.fs.info(place.path))


def find_below(url: str, depth: int | None = None, retries: int = 3, pause_s: float = 1.0) -> Iterator[Found]:
    """The files in a folder and in its folders, sorted by the parts of their names; nothing if the folder is missing.

    depth: how many levels of folders, 1 for this one alone; None for all. Holds one folder's listing for each level, or
    that of the store if it lists all keys at once. Local links to folders are followed, but never in a circle. Raises
    OSError when a folder cannot be listed: none is passed over.
    """
    path = local_path(url)
    if path is not None:
        yield from _below_local(path, depth, frozenset())
        return
    place = open_store(url)
    if depth is None and place.protocol in _LISTED_FLAT:
        yield from _below_flat(url, place, retries, pause_s)
    else:
        yield from _below(url, place, place.path, depth, retries, pause_s)
    place.fs.invalidate_cache()  # the listing is large, and will be stale


def _look_local(url: str, path: Path) -> Found | None:
    try:
        said = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: characters that no file name has
        return None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return None
        raise
    return Found(url, said.st_size, f"{said.st_size}-{said.st_mtime_ns}", path.is_dir())


def _below_local(folder: Path, depth: int | None, above: frozenset[tuple[int, int]]) -> Iterator[Found]:
    try:
        own = folder.stat()
        if (own.st_dev, own.st_ino) in above:
            return
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except FileNotFoundError:
        return
    for name in names:
        path = folder / name
        found = _look_local(str(path), path)
        if found is None:  # a link to nowhere, or removed meanwhile
            continue
        if not found.is_folder:
            yield found
        elif depth is None or depth > 1:
            yield from _below_local(path, depth and depth - 1, above | {(own.st_dev, own.st_ino)})


def _below_flat(url: str, place: Place, retries: int, pause_s: float) -> Iterator[Found]:
    def ask() -> Iterable[dict[str, Any]]:
        place.fs.invalidate_cache(place.path)
        try:
            found: dict[str, dict[str, Any]] = place.fs.find(place.path, detail=True)
        except FileNotFoundError:
            return []
        return found.values()

    for info in sorted(patiently(url, "listed", ask, retries, pause_s), key=_parts):
        if info["type"] != "directory" and info["name"].rstrip("/") != place.path:
            yield _found(_url_below(url, place, info["name"]), info)


def _below(url: str, place: Place, folder: str, depth: int | None, retries: int, pause_s: float) -> Iterator[Found]:
    def ask() -> list[dict[str, Any]]:
        place.fs.invalidate_cache(folder)
        try:
            return sorted(place.fs.ls(folder, detail=True), key=_parts)
        except FileNotFoundError:
            return []

    for info in patiently(url, "listed", ask, retries, pause_s):
        name = info["name"].rstrip("/")
        if name == folder.rstrip("/"):  # some stores list the folder's own mark, or a file as if it were a folder
            continue
        if info["type"] != "directory":
            yield _found(_url_below(url, place, name), info)
        elif depth is None or depth > 1:
            yield from _below(url, place, name, depth and depth - 1, retries, pause_s)


def _parts(info: dict[str, Any]) -> list[str]:
    name: str = info["name"]
    return name.split("/")


def _url_below(url: str, place: Place, name: str) -> str:
    """The URL of what the store calls ``name``, beginning as the folder's does (which may hold a host)."""
    top = place.path.strip("/")
    if top and name.strip("/").startswith(top + "/"):
        return url.rstrip("/") + name.strip("/")[len(top) :]
    return f"{place.protocol}://{name.lstrip('/')}"


def _found(url: str, info: dict[str, Any]) -> Found:
    size = info.get("size")
    size = int(size) if size is not None else None
    if info.get("type") == "directory":
        return Found(url, None, "", is_folder=True)
    for key in (*_CONTENT, *_TIME):  # content first: a store may touch a file's time without changing the file
        if value := info.get(key):
            text = repr(value.timestamp()) if isinstance(value, datetime) else str(value).strip('"')
            return Found(url, size, f"{'' if size is None else size}-{text}")
    return Found(url, size, "" if size is None else str(size))


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
