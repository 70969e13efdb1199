"""Local copies: downloaded once, whole, bounded, and safe from processes that are killed at any moment."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from data.remote_files import put_bytes
from data.scratch import Scratch
from data.stores import ChangedError
from tests.data.failing_fs import FailingFileSystem, failing_store
from tests.data.file_server import serving

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[type[FailingFileSystem]]:
    with failing_store(tmp_path / "store") as flaky:
        flaky.opened = tmp_path / "opened"
        yield flaky


def in_process(work: Callable[..., None], *given: Any) -> Any:
    process = FORK.Process(target=work, args=given)
    process.start()
    return process


def join(*processes: Any) -> None:
    for process in processes:
        process.join(20)
        assert process.exitcode == 0


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def copies(folder: Path) -> list[Path]:
    """The files of any size in it: locks and notes are empty or gone."""
    return [path for path in folder.iterdir() if path.stat().st_size]


def downloads(tmp_path: Path) -> int:
    opened = tmp_path / "opened"
    return len(opened.read_text().splitlines()) if opened.exists() else 0


def test_local_files_are_themselves(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch", 10)
    for url in (f"{tmp_path}/a ::b.mp4", f"file://{tmp_path}/a ::b.mp4"):
        with scratch.local(url, "1") as path:
            assert path == tmp_path / "a ::b.mp4"
    assert list((tmp_path / "scratch").iterdir()) == []
    with pytest.raises(ValueError, match=r"limit of 1 byte or more.*found 0"):
        Scratch(tmp_path, 0)


@pytest.mark.parametrize(
    "name", ["a b.mp4", "ü 日本.mp4", "100%20#1?.mp4", "two\nlines.mp4", "[x]*.mp4", "a::b", "x" * 250]
)
def test_a_copy_is_kept_for_the_next_asker(tmp_path: Path, store: type[FailingFileSystem], name: str) -> None:
    (tmp_path / "store" / name).write_bytes(b"content")
    for _ in range(2):  # the second time through another object, as of another process
        with Scratch(tmp_path / "scratch", 100).local(f"flaky://{name}", "stamp") as path:
            assert path.read_bytes() == b"content" and path.parent == tmp_path / "scratch"
            assert path.suffix == (".mp4" if name.endswith(".mp4") and "?" not in name else "")
    assert downloads(tmp_path) == 1
    assert copies(tmp_path / "scratch") == [path]


def test_another_stamp_is_another_file_and_no_stamp_asks(tmp_path: Path, store: type[FailingFileSystem]) -> None:
    scratch = Scratch(tmp_path / "scratch", 100)
    for content in (b"one", b"two!"):
        (tmp_path / "store/a").write_bytes(content)
        for _ in range(2):
            with scratch.local("flaky://a", "") as path:
                assert path.read_bytes() == content
    assert downloads(tmp_path) == 2
    with scratch.local("flaky://a", "chosen") as path:
        assert path.read_bytes() == b"two!"
    with pytest.raises(FileNotFoundError, match="flaky://b"), scratch.local("flaky://b", "old stamp"):
        pass
    assert len(copies(tmp_path / "scratch")) == 3


def test_under_hundreds_of_failures_copies_are_whole(tmp_path: Path, store: type[FailingFileSystem]) -> None:
    dice, refused = random.Random(0), 0
    contents = [dice.randbytes(dice.randrange(200_000)) for _ in range(20)]
    for number, content in enumerate(contents):
        (tmp_path / "store" / str(number)).write_bytes(content)
    store.chance = 0.3
    scratch = Scratch(tmp_path / "scratch", 500_000, retries=2, pause_s=0)
    for _ in range(300):
        number = dice.randrange(len(contents))
        try:
            with scratch.local(f"flaky://{number}", "") as path:
                assert path.read_bytes() == contents[number]
        except OSError as error:
            refused += 1
            assert f"flaky://{number}: could not be" in str(error) and "3 tries failed" in str(error)
        assert sum(path.stat().st_size for path in (tmp_path / "scratch").iterdir()) <= 500_000
    assert sum(store.failed.values()) > 200 and 5 < refused < 200
    assert not [path for path in (tmp_path / "scratch").iterdir() if path.suffix in (".part", ".lock")]


def test_what_is_longest_unused_goes_first(tmp_path: Path, store: type[FailingFileSystem]) -> None:
    scratch = Scratch(tmp_path / "scratch", 35)
    for name in "abcd":
        (tmp_path / "store" / name).write_bytes(name.encode() * 10)

    def ask(name: str) -> Path:
        with scratch.local(f"flaky://{name}", "1") as path:
            assert path.read_bytes() == name.encode() * 10
        time.sleep(0.01)  # file times have steps
        return path

    a, b, c = (ask(name) for name in "abc")
    ask("a")
    assert downloads(tmp_path) == 3
    d = ask("d")
    assert a.exists() and not b.exists() and c.exists() and d.exists()


def test_what_is_in_use_stays_even_over_the_limit(tmp_path: Path, store: type[FailingFileSystem]) -> None:
    scratch = Scratch(tmp_path / "scratch", 25)
    for name in "abc":
        (tmp_path / "store" / name).write_bytes(name.encode() * 20)
    with ExitStack() as users:
        paths = [users.enter_context(Scratch(tmp_path / "scratch", 25).local(f"flaky://{n}", "1")) for n in "ab"]
        join(in_process(ask_and_check, tmp_path / "scratch", 25, "flaky://c", b"c" * 20))
        assert [path.read_bytes() for path in paths] == [b"a" * 20, b"b" * 20]
        assert sorted(copies(tmp_path / "scratch")) == sorted(paths)
    assert sum(path.stat().st_size for path in copies(tmp_path / "scratch")) <= 25
    (tmp_path / "store/huge").write_bytes(b"x" * 1000)
    with scratch.local("flaky://huge", "1") as path:
        assert path.read_bytes() == b"x" * 1000
    assert not path.exists()


def ask_and_check(folder: Path, limit: int, url: str, content: bytes) -> None:
    with Scratch(folder, limit, pause_s=0).local(url, "1") as path:
        assert path.read_bytes() == content


def test_several_askers_download_once(tmp_path: Path, store: type[FailingFileSystem]) -> None:
    content = os.urandom(100_000)
    (tmp_path / "store/a").write_bytes(content)
    store.slow_s = 0.1
    join(*[in_process(ask_and_check, tmp_path / "scratch", 200_000, "flaky://a", content) for _ in range(8)])
    assert downloads(tmp_path) == 1
    (copy,) = copies(tmp_path / "scratch")
    assert copy.read_bytes() == content
    late = Scratch(tmp_path / "scratch", 200_000)._download("flaky://a", copy)  # by one that looked just before it came
    assert late is None and downloads(tmp_path) == 1


def test_room_is_counted_before_it_is_filled(tmp_path: Path, store: type[FailingFileSystem]) -> None:
    """Several downloads at once may together not exceed what each alone would keep to."""
    for name in "abcd":
        (tmp_path / "store" / name).write_bytes(name.encode() * 100)
    for name in "ab":
        ask_and_check(tmp_path / "scratch", 200, f"flaky://{name}", name.encode() * 100)
    store.slow_s = 0.5
    processes = [in_process(ask_and_check, tmp_path / "scratch", 200, f"flaky://{n}", n.encode() * 100) for n in "cd"]
    wait_for(lambda: [path.stat().st_size for path in (tmp_path / "scratch").glob("*.part")] == [100, 100])
    assert sum(path.stat().st_size for path in (tmp_path / "scratch").iterdir()) == 200
    join(*processes)


def test_a_killed_downloader_blocks_nobody_and_leaves_nothing(tmp_path: Path, store: type[FailingFileSystem]) -> None:
    for name in "ab":
        (tmp_path / "store" / name).write_bytes(name.encode() * 5_000_000)
    folder = tmp_path / "scratch"

    def kill_half_way(name: str, meanwhile: Callable[[], None]) -> None:
        store.slow_s = 0.3
        process = in_process(ask_and_check, folder, 10**8, f"flaky://{name}", name.encode() * 5_000_000)
        wait_for(lambda: list(folder.glob("*.part")))
        meanwhile()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        store.slow_s = 0

    waiting: list[Any] = []

    def wait_for_it() -> None:
        waiting.append(in_process(ask_and_check, folder, 10**8, "flaky://a", b"a" * 5_000_000))
        time.sleep(0.05)
        assert waiting[0].is_alive()

    kill_half_way("a", wait_for_it)
    join(*waiting)
    kill_half_way("b", lambda: None)
    assert len(list(folder.glob("*.part"))) == 1
    (tmp_path / "store/c").write_bytes(b"c")
    ask_and_check(folder, 10**8, "flaky://c", b"c")
    assert sorted(path.stat().st_size for path in folder.iterdir()) == [0, 1, 5_000_000]


def test_processes_killed_at_any_moment(tmp_path: Path, store: type[FailingFileSystem]) -> None:
    dice = random.Random(4)
    contents = {str(number): dice.randbytes(30_000) for number in range(6)}
    for name, content in contents.items():
        (tmp_path / "store" / name).write_bytes(content)
    store.slow_s, store.chance = 0.002, 0.02
    folder = tmp_path / "scratch"

    def work(seed: int, rounds: int) -> None:
        store.dice = random.Random(seed)
        scratch = Scratch(folder, 100_000, retries=20, pause_s=0)
        for _ in range(rounds):
            name = store.dice.choice(sorted(contents))
            with scratch.local(f"flaky://{name}", "1") as path:
                assert path.read_bytes() == contents[name]
                time.sleep(0.001)
                assert path.read_bytes() == contents[name]

    ends: Counter[int] = Counter()
    for seed in range(12):
        processes = [in_process(work, 10 * seed + one, 10**6) for one in range(3)]
        time.sleep(0.05 + dice.random() * 0.1)
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            ends[process.exitcode] += 1
    assert ends == {-signal.SIGKILL: 36}  # none had ended by itself, of an error
    assert downloads(tmp_path) > 100
    join(*[in_process(work, 1000 + one, 20) for one in range(3)])
    store.chance = 0
    with Scratch(folder, 35_000).local("flaky://0", "2"):
        pass
    left = [path for path in folder.iterdir() if path.name != "room"]
    assert [path.stat().st_size for path in left] == [30_000]


def test_a_full_disk_is_told_after_unused_copies_were_removed(
    tmp_path: Path, store: type[FailingFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (tmp_path / "store" / name).write_bytes(name.encode() * 10)
    scratch = Scratch(tmp_path / "scratch", 100)
    ask_and_check(tmp_path / "scratch", 100, "flaky://a", b"a" * 10)

    class Full:
        def write(self, block: Any) -> int:
            if copies(tmp_path / "scratch") or always:
                raise OSError(28, "No space left on device")
            return len(block)

    always = False
    scratch._write("flaky://b", Full(), b"b")  # type: ignore[arg-type]
    assert copies(tmp_path / "scratch") == []
    always = True
    with pytest.raises(OSError, match=r"cannot write a copy of flaky://b: No space left.*free space"):
        scratch._write("flaky://b", Full(), b"b")  # type: ignore[arg-type]


def test_a_file_replaced_while_it_is_downloaded_is_refused(
    tmp_path: Path, store: type[FailingFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store/a").write_bytes(b"old" * 10)
    written = Scratch._write

    def replaced(self: Scratch, url: str, file: Any, block: bytes) -> None:
        written(self, url, file, block)
        (tmp_path / "store/a").write_bytes(b"new" * 10)

    monkeypatch.setattr(Scratch, "_write", replaced)
    with pytest.raises(ChangedError, match="flaky://a: replaced"), Scratch(tmp_path / "s", 100).local("flaky://a", ""):
        pass
    assert copies(tmp_path / "s") == []


def test_web_addresses_and_stores_of_fsspec(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch", 1000, retries=1, pause_s=0)
    put_bytes(b"in memory", "memory://scratch/a.mp4")
    with scratch.local("memory://scratch/a.mp4", "") as path:
        assert path.read_bytes() == b"in memory" and path.suffix == ".mp4"
    with serving() as server:
        server.files["/a.mp4?sig=1/2"] = b"web" * 100
        for _ in range(2):
            with scratch.local(f"{server.url}a.mp4?sig=1/2", "") as path:
                assert path.read_bytes() == b"web" * 100 and path.suffix == ".mp4"
        assert len(server.asked) == 1
        with pytest.raises(ValueError, match=r"/gone\.mp4: the server answers 404"):
            scratch.local(f"{server.url}gone.mp4", "").__enter__()
    assert len(copies(tmp_path / "scratch")) == 2
