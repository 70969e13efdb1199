"""Downloading a file so that nothing is fetched twice: what has arrived is kept, and the next attempt asks for the rest.

The rest of a file that has changed meanwhile would not fit to its beginning. So a small note beside the unfinished file
keeps what the server said about it (ETag or Last-Modified), the server is asked for the rest of *that* file only
(If-Range), and its answer is checked, as not every server heeds this.
"""

from __future__ import annotations

import errno
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import HTTPError

from data.files import write_json_atomic

_BLOCK = 1 << 18
_LONGEST_PAUSE_S = 60.0
_GONE = (404, 410)
_PASSING = (408, 416, 425, 429)
"""Answers that may be others a little later, as may all from 500."""


@dataclass(frozen=True)
class Patience:
    """How long to try. pause_s: before the second attempt; it doubles from one to the next."""

    attempts: int = 6
    timeout_s: float = 30.0
    pause_s: float = 1.0


class MissingError(ValueError):
    """The server has no such file."""


class UnreachableError(ValueError):
    """The file could not be had this time, for reasons that lie in the server or on the way."""


class StoppedError(Exception):
    """The caller asked to stop; what has arrived is kept."""


class DiskError(OSError):
    """What arrived could not be written: no reason to ask the server again."""


class _BrokenOffError(Exception):
    """The answer ended early or does not fit to what is there."""


@dataclass(frozen=True)
class _Note:
    """What an unfinished file is the beginning of. validator: what names this version of it; None if nothing does."""

    url: str
    validator: str | None
    total: int | None

    @classmethod
    def read(cls, path: Path) -> _Note | None:
        try:
            note = cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return note if note.total is None or type(note.total) is int else None


def note_path(part: Path) -> Path:
    """The note beside an unfinished file."""
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Remove an unfinished file and its note."""
    part.unlink(missing_ok=True)
    note_path(part).unlink(missing_ok=True)


def download(
    url: str,
    part: Path,
    patience: Patience | None = None,
    arrived: Callable[[int], None] = lambda count: None,
    stop: threading.Event | None = None,
) -> None:
    """Bring a file to ``part``, going on from what an earlier call left there; a complete one is not asked for again.

    The caller checks and renames it, then calls :func:`discard`. arrived: called with the number of new bytes. stop: set
    it from another thread to end the download at its next block.

    Raises MissingError where the server has no such file, UnreachableError after the last attempt or where trying again
    is of no use, StoppedError, and DiskError (an OSError) naming the file when it cannot be written.
    """
    stop = stop or threading.Event()

    def attempt(timeout_s: float) -> None:
        _attempt(url, part, timeout_s, arrived, stop)

    _patiently(url, patience or Patience(), attempt, stop)


def fetch_bytes(url: str, most: int, patience: Patience) -> bytes:
    """A small file's content. Raises as :func:`download`; ValueError when it is larger than ``most`` bytes."""
    found: list[bytes] = []

    def attempt(timeout_s: float) -> None:
        with _open(url, {}, timeout_s) as response:
            content = response.read(most + 1)
            if len(content) > most:
                raise ValueError(f"{url}: expected at most {most >> 20} MiB, found more; is this the right address?")
            expected = _length(response)
            if expected is not None and len(content) < expected:
                raise _BrokenOffError(f"the connection ended after {len(content):,} of {expected:,} bytes")
            found.append(content)

    _patiently(url, patience, attempt, threading.Event())
    return found[0]


def _patiently(url: str, patience: Patience, attempt: Callable[[float], None], stop: threading.Event) -> None:
    """Attempt it until it succeeds, or is seen to be of no use, or patience ends."""
    if not re.fullmatch(r"https?://[\x21-\x7e]+", url):
        raise ValueError(f"{url}: expected an http or https address, with anything strange in it percent-encoded")
    problem = ""
    asked_s = 0.0  # for how long the server wants to be left alone
    for number in range(patience.attempts):
        if number and stop.wait(max(asked_s, min(patience.pause_s * 2 ** (number - 1), _LONGEST_PAUSE_S))):
            raise StoppedError
        asked_s = 0.0
        try:
            return attempt(patience.timeout_s)
        except DiskError:
            raise
        except HTTPError as error:
            with error:
                problem = f"the server answers {error.code} {error.reason}"
                if error.code in _GONE:
                    raise MissingError(f"{url}: {problem}") from error
                if error.code not in _PASSING and error.code < 500:
                    raise UnreachableError(f"{url}: {problem}") from error
                asked_s = min(_number(error.headers.get("Retry-After")) or 0, _LONGEST_PAUSE_S)
        except (OSError, http.client.HTTPException, _BrokenOffError) as error:
            reason = getattr(error, "reason", error)
            problem = str(reason) or type(reason).__name__
    raise UnreachableError(f"{url}: {patience.attempts} attempts failed, the last one because {problem}")


def _attempt(url: str, part: Path, timeout_s: float, arrived: Callable[[int], None], stop: threading.Event) -> None:
    note = _Note.read(note_path(part))
    have = part.stat().st_size if part.exists() else 0
    if note is None or note.url != url or have > (have if note.total is None else note.total):
        note, have = None, 0
    if note is not None and have == note.total:
        return
    headers = {}
    if note is not None and note.validator and have:
        headers = {"Range": f"bytes={have}-", "If-Range": note.validator}
    with _answer(url, headers, timeout_s, part) as response:
        if response.status == 206 and headers:
            assert note is not None
            note = _require_the_rest(response, note, have, part)
        elif response.status == 200:
            have, note = 0, _Note(url, _validator(response), _length(response))
            with _writing(part):
                part.parent.mkdir(parents=True, exist_ok=True)
                part.unlink(missing_ok=True)  # before the note: what is there must never pass for its beginning
                write_json_atomic(note_path(part), asdict(note))
        else:
            raise _BrokenOffError(f"the server answers {response.status} {response.reason}")
        with _writing(part):
            stream = part.open("ab", buffering=0)
        with stream:
            while block := response.read1(_BLOCK):
                left = memoryview(block)
                with _writing(part):
                    while left:
                        left = left[stream.write(left) :]
                have += len(block)
                arrived(len(block))
                if stop.is_set():
                    raise StoppedError
    if note.total is None:  # sent in chunks: their end is the end
        with _writing(part):
            write_json_atomic(note_path(part), asdict(_Note(url, note.validator, have)))
    elif have != note.total:
        raise _BrokenOffError(f"the connection ended after {have:,} of {note.total:,} bytes")


@contextmanager
def _answer(url: str, headers: dict[str, str], timeout_s: float, part: Path) -> Iterator[http.client.HTTPResponse]:
    """The response. Where the server cannot give this range (416), what is there is discarded for the next attempt."""
    try:
        with _open(url, headers, timeout_s) as response:
            yield response
    except HTTPError as error:
        if error.code == 416:
            discard(part)
        raise


def _open(url: str, headers: dict[str, str], timeout_s: float) -> http.client.HTTPResponse:
    """The response to a GET, redirects followed. No other scheme than http and https is known to this opener."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(), request.HTTPHandler(), request.HTTPSHandler(), request.HTTPRedirectHandler(),
        request.HTTPErrorProcessor(), request.HTTPDefaultErrorHandler(), request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    plain = {"Accept-Encoding": "identity", "User-Agent": "vpt-pipeline"}
    response: Any = opener.open(request.Request(url, headers={**plain, **headers}), timeout=timeout_s)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        response.close()
        raise UnreachableError(f"{url}: the server compresses what it sends, though asked not to")
    assert isinstance(response, http.client.HTTPResponse)
    return response


def _require_the_rest(response: http.client.HTTPResponse, note: _Note, have: int, part: Path) -> _Note:
    """The note with what is known now. Discards the part and raises unless this is the rest of what is there."""
    said = re.fullmatch(
        r"bytes ([0-9]{1,15})-[0-9]+/([0-9]{1,15}|\*)", response.headers.get("Content-Range", "").strip()
    )
    total = int(said[2]) if said and said[2] != "*" else note.total
    same = _validator(response) in (None, note.validator) and note.total in (None, total)
    if said is None or int(said[1]) != have or not same:
        discard(part)
        raise _BrokenOffError("the file on the server has changed")
    return _Note(note.url, note.validator, total)


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What names exactly this version: a strong ETag, or else the time of its last change."""
    etag = response.headers.get("ETag")
    found = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    return found if found and re.fullmatch(r"[\x20-\x7e]{1,200}", found) else None


def _length(response: http.client.HTTPResponse) -> int | None:
    return _number(response.headers.get("Content-Length"))


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,15}", text) else None


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        told = f"cannot write {part}: {reason}; free space there or choose another folder"
        raise DiskError(error.errno or errno.EIO, told, str(part)) from error
