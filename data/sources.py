"""Which videos are meant: files, folders, patterns, lists and URLs, as people give them, one by one.

How a video is named in the results is here too, as its name becomes part of file names and keys.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, unquote, urljoin

from fsspec.utils import glob_translate  # type: ignore[import-untyped]

from data.download import Patience, fetch_bytes
from data.remote_files import open_read
from data.source_lists import LIST_SUFFIXES, Row, read_list
from data.stores import Found, absolute, find_below, local_path, look, protocol_of, require_protocol

VIDEO_SUFFIXES = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".flv", ".ts", ".mpg", ".mpeg", ".wmv"}

_LARGEST_WEB_LIST = 256 << 20
_LONGEST_NAME = 120
_UNSAFE = re.compile(r'[/\\:*?"<>|#%\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """A video. url: absolute local path or URL, what it is known by. stamp: changes when the file does; "" if not known.

    name: what its list calls it, as it stands there (:func:`unique_name` makes it fit for files); None if it is in none.
    """

    url: str
    stamp: str
    name: str | None = None


def find_sources(given: Sequence[str]) -> Iterator[Source]:
    """The videos that are meant by files, folders, patterns (``videos/**/*.mp4``) and lists, local or by URL, each once.

    Folders are searched with all their folders, by VIDEO_SUFFIXES; so are patterns, which may end in another suffix to
    mean that. Whatever begins with a dot is passed over in both. A list (.csv, .jsonl, .parquet) has a column ``video``,
    ``path`` or ``url`` and, if wanted, ``name``; relative entries begin at the list's folder. Order: as given; within
    folders and patterns by the parts of the path; within lists as they stand there. http(s) addresses are files or lists.

    stamp is "" for files that are missing (they are given nevertheless: what reads them says so), for web addresses, and
    for files in stores that a list names: asking takes a request for each, which :func:`stamp_of` does where it is needed.

    The iteration raises ValueError, naming item or line, when it gets to what cannot be meant: no such folder or list,
    nothing in it, nothing of this pattern, a broken line, an unknown protocol, a missing package; and OSError when a
    store cannot be asked or a folder not be read. To know all errors before work begins, take all sources before.
    """
    if not given:
        raise ValueError(
            "no video given; expected video files, folders, patterns, lists or URLs, as in `videos/ s3://b/x/`"
        )
    seen: set[str] = set()
    for item in given:
        for source in _of_item(str(item)):
            if source.url not in seen:
                seen.add(source.url)
                yield source


def stamp_of(url: str) -> str:
    """What changes when the file does, asked now; "" if it is missing, a web address, or the store says nothing.

    Raises OSError when the store cannot be asked.
    """
    if is_web(url):
        return ""
    found = look(url)
    return "" if found is None or found.is_folder else found.stamp


def is_web(url: str) -> bool:
    """Whether this is an address that a web server answers for: one file, nothing to search."""
    return protocol_of(url) in ("http", "https")


def default_name(url: str) -> str:
    """The video's file name without suffix, fit to be one on any system: at most 120 bytes, nothing strange in it."""
    path = unquote(_web_path(url)) if is_web(url) else url
    return _safe(PurePosixPath(path).stem)


def unique_name(url: str, taken: Callable[[str], bool], wanted: str | None = None) -> str:
    """``wanted`` (a list's name for it) or the default name, made safe; with 6 or more hex digits of the URL if taken.

    taken: should compare without regard to case where results may go to a disk that does. Raises ValueError if every
    name is taken, which means that this video has one already.
    """
    names = names_of(url, wanted)
    for candidate in names:
        if not taken(candidate):
            return candidate
    raise ValueError(f"{url}: {names[0]} and its longer forms are taken; was this video named twice?")


def names_of(url: str, wanted: str | None = None) -> list[str]:
    """The names that :func:`unique_name` may give, the shortest first."""
    name = _safe(wanted) if wanted else default_name(url)
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
    return [name, *(f"{name}-{digest[:digits]}" for digits in (6, 8, 12, 16, 32, 64))]


def _safe(text: str) -> str:
    text = _UNSAFE.sub("_", unicodedata.normalize("NFC", text)).lstrip(".- ")
    text = text.encode()[:_LONGEST_NAME].decode(errors="ignore").rstrip(". ")
    return f"_{text}" if not text or _RESERVED.fullmatch(text) else text


def _of_item(item: str) -> Iterator[Source]:
    url, suffix = absolute(item), _suffix(item)
    if is_web(url):
        yield from _of_list(url, suffix) if suffix in LIST_SUFFIXES else [Source(url, "")]
        return
    found = Found(url, None, "", is_folder=True) if _means_folder(url) else look(url)
    if found is None and re.search(r"[*?\[]", url):
        yield from _of_pattern(item, url)
    elif found is None and suffix in VIDEO_SUFFIXES:
        yield Source(url, "")
    elif found is None:
        raise ValueError(
            f"{item}: expected a video, a folder, a list ({', '.join(sorted(LIST_SUFFIXES))}) or a pattern, "
            "found nothing there; check the spelling"
        )
    elif found.is_folder:
        yield from _of_folder(item, url)
    elif suffix in LIST_SUFFIXES:
        yield from _of_list(url, suffix)
    else:
        yield Source(url, found.stamp)


def _of_folder(item: str, url: str) -> Iterator[Source]:
    empty = True
    for found in find_below(url):
        if _suffix(found.url) in VIDEO_SUFFIXES and not _is_hidden(found.url, url):
            empty = False
            yield Source(found.url, found.stamp)
    if empty:
        wanted = ", ".join(sorted(VIDEO_SUFFIXES))
        raise ValueError(f"{item}: no video in this folder (looked for {wanted}); check the path or give the files")


def _of_pattern(item: str, url: str) -> Iterator[Source]:
    """Searched from the last folder without a wildcard; matched on the part below it."""
    plain = re.split(r"[*?\[]", url, maxsplit=1)[0]
    top = plain[: plain.rindex("/") + 1]
    rest = url[len(top) :]
    matches = re.compile(glob_translate(rest)).match
    suffixes = VIDEO_SUFFIXES | ({_suffix(rest)} - {""})
    empty = True
    for found in find_below(top, None if "**" in rest else rest.count("/") + 1):
        below = found.url[len(top) :]
        if matches(below) and _suffix(below) in suffixes and not _is_hidden(found.url, top):
            empty = False
            suffix = _suffix(below)
            yield from _of_list(found.url, suffix) if suffix in LIST_SUFFIXES else [Source(found.url, found.stamp)]
    if empty:
        raise ValueError(
            f"{item}: expected videos of this pattern, found none in {top}; check it, "
            "and mind that * stays within one folder: all folders are **/*.mp4"
        )


def _of_list(url: str, suffix: str) -> Iterator[Source]:
    with _open_list(url) as stream:
        for row in read_list(stream, url, suffix):
            yield _of_row(url, row)


def _open_list(url: str) -> AbstractContextManager[BinaryIO]:
    if is_web(url):
        return nullcontext(io.BytesIO(fetch_bytes(url, _LARGEST_WEB_LIST, Patience())))
    return open_read(url)


def _of_row(list_url: str, row: Row) -> Source:
    url = row.video
    protocol = protocol_of(url)
    if protocol is None and not url.startswith("/"):
        url = _beside(list_url, url)
    if not is_web(url) and (path := local_path(url)) is not None:
        url = absolute(url)
        try:
            found = look(str(path))
        except OSError:  # for whoever reads this video to tell: one entry does not end the list
            found = None
        return Source(url, "" if found is None or found.is_folder else found.stamp, row.name)
    if not is_web(url) and protocol is not None:
        try:
            require_protocol(protocol)
        except ValueError as error:
            raise ValueError(f"{row.where}: {url}: {error}") from error
    return Source(url, "", row.name)


def _beside(list_url: str, entry: str) -> str:
    if is_web(list_url):
        return urljoin(list_url, quote(entry))
    protocol = protocol_of(list_url)
    if protocol is None:
        return os.path.join(os.path.dirname(list_url), entry)  # noqa: PTH118, PTH120 (Path would drop what is odd)
    folder = list_url.split("://", 1)[1].rpartition("/")[0]
    return f"{protocol}://" + posixpath.normpath(posixpath.join(folder, entry))


def _means_folder(url: str) -> bool:
    return protocol_of(url) is not None and url.endswith("/")


def _is_hidden(url: str, top: str) -> bool:
    return any(part.startswith(".") for part in url[len(top.rstrip("/")) :].split("/"))


def _suffix(url: str) -> str:
    return PurePosixPath(_web_path(url) if is_web(url) else url).suffix.lower()


def _web_path(url: str) -> str:
    """Without what a signature or a player's position adds."""
    return re.split(r"[?#]", url, maxsplit=1)[0]
