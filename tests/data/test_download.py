"""Downloads: nothing is lost, nothing is fetched twice, and two versions of a file are never mixed."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.download import (
    DiskError,
    MissingError,
    Patience,
    StoppedError,
    UnreachableError,
    discard,
    download,
    fetch_bytes,
    note_path,
)
from tests.data.file_server import FileServer, serving

CONTENT = bytes(range(256)) * 4000  # a little over a megabyte
QUICK = Patience(attempts=3, timeout_s=5, pause_s=0.01)
HALF = len(CONTENT) // 2


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(files={"/a.mp4": CONTENT}) as running:
        yield running


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "new" / ".a.mp4.part"


def test_a_file_arrives(server: FileServer, part: Path) -> None:
    counts: list[int] = []
    download(f"{server.url}a.mp4", part, QUICK, counts.append)
    assert part.read_bytes() == CONTENT and sum(counts) == len(CONTENT)
    download(f"{server.url}a.mp4", part, QUICK)
    assert server.asked == [("/a.mp4", None)]  # complete: not asked for again
    discard(part)
    assert list(part.parent.iterdir()) == []


def test_a_dropped_connection_is_continued(server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"] = ["drop", "drop"]
    download(f"{server.url}a.mp4", part, QUICK)
    assert part.read_bytes() == CONTENT
    quarters = HALF + HALF // 2
    assert server.asked == [("/a.mp4", None), ("/a.mp4", f"bytes={HALF}-"), ("/a.mp4", f"bytes={quarters}-")]
    assert server.sent["/a.mp4"] == len(CONTENT)


def test_attempts_end_and_a_later_call_goes_on(server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"] = ["drop", "500", "503"]
    with pytest.raises(
        UnreachableError, match=r"a\.mp4: 3 attempts failed, the last one because the server answers 503"
    ):
        download(f"{server.url}a.mp4", part, QUICK)
    assert part.read_bytes() == CONTENT[:HALF]
    server.forget()
    download(f"{server.url}a.mp4", part, QUICK)
    assert part.read_bytes() == CONTENT and server.asked == [("/a.mp4", f"bytes={HALF}-")]


def test_a_server_that_ignores_ranges_sends_the_whole_again(server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"] = ["drop", "whole"]
    download(f"{server.url}a.mp4", part, QUICK)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("known_by", ["etag", "date"])
@pytest.mark.parametrize("longer", [0, 1000])
def test_a_file_that_changed_in_between_is_begun_again(heeds: bool, known_by: str, longer: int, part: Path) -> None:
    files = {"/a.mp4": CONTENT}
    with serving(files=files, heeds=heeds, etags=known_by == "etag", dates=known_by == "date") as server:
        server.faults["/a.mp4"] = ["drop"]
        with pytest.raises(UnreachableError):
            download(f"{server.url}a.mp4", part, Patience(1, 5, 0))
        files["/a.mp4"] = CONTENT[::-1] + bytes(longer or 1)
        download(f"{server.url}a.mp4", part, QUICK)
        assert part.read_bytes() == files["/a.mp4"]


def test_a_file_that_became_shorter_than_its_beginning_is_begun_again(part: Path) -> None:
    files = {"/a.mp4": CONTENT}
    with serving(files=files, heeds=False) as server:
        server.faults["/a.mp4"] = ["drop"]
        with pytest.raises(UnreachableError):
            download(f"{server.url}a.mp4", part, Patience(1, 5, 0))
        files["/a.mp4"] = b"short"
        download(f"{server.url}a.mp4", part, QUICK)  # the server answers 416 first
        assert part.read_bytes() == b"short"


def test_without_a_name_for_the_version_nothing_is_continued(part: Path) -> None:
    with serving(files={"/a.mp4": CONTENT}, etags=False) as server:
        server.faults["/a.mp4"] = ["drop"]
        download(f"{server.url}a.mp4", part, QUICK)
        assert server.asked == [("/a.mp4", None)] * 2 and part.read_bytes() == CONTENT


def test_a_weak_etag_names_no_version(part: Path) -> None:
    with serving(files={"/a.mp4": CONTENT}, etags=False, headers={"ETag": 'W/"1"'}) as server:
        server.faults["/a.mp4"] = ["drop"]
        download(f"{server.url}a.mp4", part, QUICK)
        assert [wanted for _, wanted in server.asked] == [None, None]


def test_the_beginning_of_another_address_is_not_continued(server: FileServer, part: Path) -> None:
    server.files["/b.mp4"] = CONTENT[::-1]
    server.faults["/a.mp4"] = ["drop"]
    with pytest.raises(UnreachableError):
        download(f"{server.url}a.mp4", part, Patience(1, 5, 0))
    download(f"{server.url}b.mp4", part, QUICK)
    assert part.read_bytes() == CONTENT[::-1] and server.asked[-1] == ("/b.mp4", None)


@pytest.mark.parametrize("note", [b"", b"{}", b"[]", b'{"url": 1, "validator": 2, "total": "x"}'])
def test_a_part_without_a_sound_note_is_begun_again(note: bytes, server: FileServer, part: Path) -> None:
    part.parent.mkdir()
    part.write_bytes(b"what is this?")
    note_path(part).write_bytes(note)
    download(f"{server.url}a.mp4", part, QUICK)
    assert part.read_bytes() == CONTENT


def test_content_without_a_length(server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"] = ["chunked"]
    download(f"{server.url}a.mp4", part, QUICK)
    download(f"{server.url}a.mp4", part, QUICK)
    assert part.read_bytes() == CONTENT and len(server.asked) == 1


def test_a_silent_server_is_given_up(server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"] = ["stall"]
    begun = time.monotonic()
    download(f"{server.url}a.mp4", part, Patience(2, 0.3, 0.01))
    assert part.read_bytes() == CONTENT and time.monotonic() - begun < 10
    assert server.asked[1] == ("/a.mp4", f"bytes={HALF}-")


@pytest.mark.parametrize("status", ["404", "410"])
def test_a_missing_file_is_asked_for_once(status: str, server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"] = [status]
    with pytest.raises(MissingError, match=rf"a\.mp4: the server answers {status}"):
        download(f"{server.url}a.mp4", part, QUICK)
    assert len(server.asked) == 1 and not part.exists()


def test_what_is_not_allowed_is_asked_for_once(server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"] = ["403"]
    with pytest.raises(UnreachableError, match="403"):
        download(f"{server.url}a.mp4", part, QUICK)
    assert len(server.asked) == 1


def test_the_server_may_ask_for_a_pause(server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"], server.headers = ["429"], {"Retry-After": "1"}
    begun = time.monotonic()
    download(f"{server.url}a.mp4", part, QUICK)
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {"Retry-After": "nan"}, {"ETag": "\x01"}])
def test_strange_headers(headers: dict[str, str], server: FileServer, part: Path) -> None:
    server.headers, server.etags = headers, False
    server.faults["/a.mp4"] = ["503", "drop"]
    if "Content-Encoding" in headers:
        with pytest.raises(UnreachableError, match="compresses"):
            download(f"{server.url}a.mp4", part, QUICK)
    else:
        download(f"{server.url}a.mp4", part, QUICK)
        assert part.read_bytes() == CONTENT


def test_redirects_are_followed_within_the_web_only(server: FileServer, part: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    server.files["/b"] = b""
    server.faults["/b"] = [f"redirect:{server.url}a.mp4"]
    download(f"{server.url}b", part, QUICK)
    assert part.read_bytes() == CONTENT
    discard(part)
    for target in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/a", "data:text/plain,secret"):
        server.faults["/b"] = [f"redirect:{target}"] * 3
        with pytest.raises(UnreachableError):
            download(f"{server.url}b", part, QUICK)
        assert not part.exists()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/a", "/etc/hostname", "http://", "http://a b/"])
def test_other_addresses_are_refused(url: str, part: Path) -> None:
    with pytest.raises(ValueError, match="expected an http or https address"):
        download(url, part, QUICK)


def test_nobody_there(part: Path) -> None:
    with serving() as server:
        url = server.url
    with pytest.raises(UnreachableError, match=r"3 attempts failed, .*refused"):
        download(url, part, QUICK)


def test_stop_keeps_what_has_arrived(server: FileServer, part: Path) -> None:
    stop = threading.Event()
    with pytest.raises(StoppedError):
        download(f"{server.url}a.mp4", part, QUICK, lambda count: stop.set(), stop)
    have = part.stat().st_size
    assert 0 < have < len(CONTENT) and part.read_bytes() == CONTENT[:have]
    download(f"{server.url}a.mp4", part, QUICK)
    assert server.asked[-1] == ("/a.mp4", f"bytes={have}-") and part.read_bytes() == CONTENT


def test_stop_ends_a_pause(server: FileServer, part: Path) -> None:
    server.faults["/a.mp4"] = ["503"] * 3
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        download(f"{server.url}a.mp4", part, Patience(3, 5, 30), stop=stop)
    assert time.monotonic() - begun < 10


def test_a_full_disk_is_no_reason_to_ask_again(server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("data.download.write_json_atomic", full)
    with pytest.raises(DiskError, match=r"cannot write .*\.a\.mp4\.part: No space left on device; free space"):
        download(f"{server.url}a.mp4", part, QUICK)
    assert len(server.asked) == 1


def test_small_files_come_whole_and_bounded(server: FileServer) -> None:
    server.faults["/a.mp4"] = ["drop", "503"]
    assert fetch_bytes(f"{server.url}a.mp4", 1 << 24, QUICK) == CONTENT
    with pytest.raises(ValueError, match="expected at most 0 MiB"):
        fetch_bytes(f"{server.url}a.mp4", 1000, QUICK)
    with pytest.raises(MissingError):
        fetch_bytes(f"{server.url}none", 1000, QUICK)
