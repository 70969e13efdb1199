"""Written files are whole or absent, and what is read is what was written, however often the store fails."""

import errno
import hashlib
import io
import random
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest

from data.remote_files import exists, list_files, open_read, put, put_bytes, sha256, size
from data.stores import ChangedError, look
from tests.data.failing_fs import FailingFileSystem, failing_store

ODD = ["a b.parquet", "ü 日本.txt", "100%20#1?.txt", "two\nlines.txt", "[x]*.txt", "a::b.txt"]


@pytest.mark.parametrize("base", ["memory://odd/", "flaky://odd/", ""])
def test_files_of_odd_names_are_written_listed_read_and_replaced(tmp_path: Path, base: str) -> None:
    base = base or f"{tmp_path}/odd/"
    with failing_store(tmp_path / "store"):
        assert list(list_files(base)) == []
        names = ODD[:-1] if base.startswith("memory") else ODD  # which takes :: for something else
        for name in names:
            assert not exists(base + name)
            put_bytes(b"old", base + name)
            put_bytes(name.encode(), base + name)
            assert exists(base + name) and size(base + name) == len(name.encode())
            assert sha256(base + name) == hashlib.sha256(name.encode()).hexdigest()
        assert list(list_files(base)) == [(base + name, len(name.encode())) for name in sorted(names)]
        assert not exists(base.rstrip("/"))  # a folder is no file
        with pytest.raises(FileNotFoundError, match="missing"):
            size(base + "missing")
        with pytest.raises(FileNotFoundError, match="missing"), open_read(base + "missing"):
            pass


def test_under_hundreds_of_failures_nothing_is_lost_or_half_written(tmp_path: Path) -> None:
    dice = random.Random(3)
    contents: dict[str, bytes] = {}
    gave_up = 0
    with failing_store(tmp_path / "store", chance=0.15, seed=1) as store:
        local = tmp_path / "local"
        for number in range(150):
            url = f"flaky://out/{number % 60:02d}.bin"
            content = dice.randbytes(dice.randrange(3000))
            local.write_bytes(content)
            try:
                put(local, url, retries=3, pause_s=0)
                contents[url] = content
            except OSError as error:
                gave_up += 1
                assert url in str(error) and "4 tries failed" in str(error)
                path = tmp_path / "store/out" / Path(url).name  # whole all the same: the old one, the new one, or none
                assert not path.exists() or path.read_bytes() in (contents.get(url), content)
                contents[url] = content
                put(local, url, retries=50, pause_s=0)
        for _ in range(20):
            assert sorted(contents) == [url for url, _ in list_files("flaky://out", retries=20, pause_s=0)]
        for url, content in contents.items():
            assert sha256(url, 20, 0) == hashlib.sha256(content).hexdigest()
    assert sum(store.failed.values()) > 300 and gave_up > 3
    assert set(store.failed) >= {"open", "write", "close", "info", "mv", "mv that was done", "read", "whole read", "ls"}


def test_reading_goes_on_where_it_failed(tmp_path: Path) -> None:
    content = random.Random(0).randbytes(3_000_000)
    with failing_store(tmp_path / "store", chance=0.3, seed=2) as store:
        (tmp_path / "store/a").write_bytes(content)
        with open_read("flaky://a", 30, 0) as stream:
            assert stream.read(5) == content[:5]
            assert stream.seek(-100, io.SEEK_END) == 2_999_900 and stream.read() == content[-100:]
            stream.seek(1000)
            assert stream.read() == content[1000:]
        assert store.failed["read"] > 2 and store.failed["whole read"] > 2


def test_a_file_replaced_while_it_is_read_is_not_mixed(tmp_path: Path) -> None:
    with failing_store(tmp_path / "store") as store:
        file = tmp_path / "store/a"
        file.write_bytes(b"1" * 3_000_000)
        with open_read("flaky://a", 50, 0) as stream:
            stream.read(2_000_000)
            file.write_bytes(b"2" * 3_000_000)
            store.chance, store.dice = 0.5, random.Random(1)
            with pytest.raises(ChangedError, match="flaky://a: replaced"):
                stream.read()


def test_a_file_that_ends_early_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing_store(tmp_path / "store"):
        (tmp_path / "store/a").write_bytes(b"1234")
        told = FailingFileSystem._info
        monkeypatch.setattr(FailingFileSystem, "_info", lambda self, name: {**told(self, name), "size": 9})
        with pytest.raises(OSError, match=r"flaky://a.*3 tries.*after 4 of 9 bytes"):
            sha256("flaky://a", 2, 0)
        with pytest.raises(OSError, match=r"flaky://b.*expected 4 bytes .* found 9"):
            put(tmp_path / "store/a", "flaky://b", 2, 0)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a"]


def test_waits_grow_and_hopeless_errors_are_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("data.stores.time.sleep", waits.append)
    with failing_store(tmp_path / "store", chance=1.0):
        with pytest.raises(OSError, match=r"flaky://a: could not be found: 5 tries failed.* info failed"):
            exists("flaky://a", retries=4, pause_s=1.0)
        assert len(waits) == 4 and all(0.7 <= wait / 2**n <= 1.3 for n, wait in enumerate(waits))
        waits.clear()

        def refuse(*_: Any) -> None:
            raise PermissionError("403")

        monkeypatch.setattr(FailingFileSystem, "maybe_fail", refuse)
        with pytest.raises(PermissionError, match=r"flaky://a.*403.*credentials"):
            exists("flaky://a")
    assert waits == []


def test_a_store_without_renaming_gets_whole_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    put_bytes(b"old", "memory://whole/[a]/x")

    def half(self: Any, local: str, path: str, **_: Any) -> None:
        memory.pipe_file(path, b"ha")
        raise OSError(errno.EPIPE, "gone")

    monkeypatch.setattr(type(memory), "put_file", half)
    with pytest.raises(OSError, match=r"2 tries failed.*gone"):
        put_bytes(b"half", "memory://whole/[a]/x", 1, 0)
    assert memory.cat_file("/whole/[a]/x") == b"old" and len(memory.find("/whole")) == 1


def test_an_upload_that_came_short_without_an_error_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(self: FailingFileSystem, local: str, path: str) -> None:
        self._at(path).write_bytes(Path(local).read_bytes()[:-1])

    monkeypatch.setattr(FailingFileSystem, "put_file", short)
    monkeypatch.setattr("data.remote_files._ATOMIC_PUT", {"flaky"})
    told = r"flaky://a: .*2 tries.*expected 5 bytes there after writing, found 4"
    with failing_store(tmp_path / "store"), pytest.raises(OSError, match=told):
        put_bytes(b"whole", "flaky://a", 1, 0)


def test_unfinished_files_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".a.0123.part.parquet").write_bytes(b"half")
    (tmp_path / "a.parquet").write_bytes(b"whole")
    assert list(list_files(str(tmp_path))) == [(str(tmp_path / "a.parquet"), 5)]


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for content in (b"one", b"two!"):
        file.write_bytes(content)
        put_bytes(content, "memory://stamp/a")
        found = [look(str(file)), look("memory://stamp/a"), look(f"file://{file}")]
        assert all(each is not None and each.size == len(content) and each.stamp for each in found)
        if content == b"one":
            first = found
    assert all(a and b and a.stamp != b.stamp for a, b in zip(first, found, strict=True))
