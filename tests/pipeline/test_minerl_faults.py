"""What goes wrong with the MineRL env ends in a clear error in time, leaves nothing behind, and the next reset plays on."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpt_pipeline.envs.minerl import MinerlDied, MinerlEnv
from vpt_pipeline.envs.minerl.connection import PREFIX, Connection, sweep_folders
from vpt_pipeline.envs.minerl.server import owned, wire
from vpt_pipeline.envs.minerl.server.minecraft_log import FILES
from vpt_pipeline.envs.minerl.settings import SERVER, MinerlSettings

QUICK = MinerlSettings(python=sys.executable, step_timeout=1.5, reset_timeout=1.5, close_timeout=5)
SLACK = 15.0
"""Seconds beyond the time set: the machine may be busy with other things."""


def marks_of(env: MinerlEnv) -> str:
    return env._link._mark  # type: ignore[union-attr]


def folders() -> set[Path]:
    places = {Path("/dev/shm"), Path(tempfile.gettempdir())}
    return {found for place in places for found in place.glob(f"{PREFIX}{os.getpid()}-*")}


def until_gone(mark: str, seconds: float = SLACK) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := owned.marked(owned.OWNER, mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def playing(env: MinerlEnv, seed: int = 1) -> str:
    env.reset(seed=seed)
    mark = marks_of(env)
    assert owned.marked(owned.OWNER, mark) and folders()
    return mark


@pytest.mark.parametrize(
    ("fault", "said", "within"),
    [
        ("die", "the env's process ended during step", 0.0),
        ("hang", "the env hangs: no answer to step within 1.5 s", 1.5),
        ("garbage", r"said nonsense during step: expected a message that begins with b'VPTM', found b'GET /", 0.0),
        ("raise", "step failed: MineRL lost Minecraft", 0.0),
    ],
)
def test_a_broken_step_says_so_in_time_and_the_next_reset_plays(fault: str, said: str, within: float) -> None:
    with MinerlEnv("Fake-v0", settings=QUICK, fault=fault, at=3, seeds=[1]) as env:
        mark = playing(env)
        for _ in range(2):
            env.step({})
        begun = time.monotonic()
        with pytest.raises(MinerlDied, match=said):
            for _ in range(2):  # garbage is found by the answer after it
                env.step({})
        assert time.monotonic() - begun < within + SLACK
        assert owned.marked(owned.OWNER, mark) == [] and folders() == set()
        with pytest.raises(RuntimeError, match="reset"):
            env.step({})
        env.reset(seed=2)
        for _ in range(5):
            env.step({})
        assert env.restarts == 1
    assert folders() == set()


def test_a_hang_shows_minecrafts_last_words() -> None:
    with MinerlEnv("Fake-v0", settings=QUICK, fault="hang", at=1) as env:
        playing(env)
        folder = Path(env._link._folder)  # type: ignore[union-attr,arg-type]
        (folder / FILES.replace("*", "1")).write_text("first\n" * 99 + "java.lang.OutOfMemoryError: Java heap space\n")
        with pytest.raises(
            MinerlDied, match=r"hangs(?s:.*)Minecraft's last words:(\n    first)+\n    java.lang.OutOf"
        ) as died:
            env.step({})
        assert str(died.value).count("first") < 20


def test_a_reset_that_hangs() -> None:
    with MinerlEnv("Fake-v0", settings=QUICK, fault="hang_reset", seeds=[1]) as env:
        with pytest.raises(MinerlDied, match=r"no answer to reset within 1.5 s"):
            env.reset(seed=1)
        assert folders() == set()
        env.reset(seed=2)


def test_what_interrupts_a_step_ends_the_game_at_once() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with MinerlEnv("Fake-v0", settings=dataclasses.replace(QUICK, step_timeout=60), fault="hang", at=1) as env:
            mark = playing(env)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                env.step({})
            assert owned.marked(owned.OWNER, mark) == [] and folders() == set()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_slow_game_is_no_fault() -> None:
    with MinerlEnv("Fake-v0", settings=QUICK, fault="slow", at=1) as env:
        env.reset(seed=1)
        for _ in range(2):
            env.step({})


def test_memory_that_grows_ends_the_game() -> None:
    settings = dataclasses.replace(QUICK, memory_limit=300 << 20)
    with MinerlEnv("Fake-v0", settings=settings, fault="leak", at=1, seeds=[1]) as env:
        mark = playing(env)
        with pytest.raises(MinerlDied, match=r"memory grew to 0\.\d+ GiB, over the limit of 0.29 GiB"):
            for _ in range(2000):
                env.step({})
        assert owned.marked(owned.OWNER, mark) == []
        env.reset(seed=2)


def test_memory_that_has_grown_restarts_the_game_between_episodes() -> None:
    with MinerlEnv("Fake-v0", settings=QUICK) as env:
        env.reset(seed=1)
        env._link.memory = int(0.8 * QUICK.memory_limit)  # type: ignore[union-attr]
        env.reset(seed=2)
        assert env.restarts == 1


def test_java_that_has_left_the_tree_ends_with_the_env_and_nobody_elses_does() -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with MinerlEnv("Fake-v0", settings=QUICK, fault="java", at=1) as env:
            mark = playing(env)
            server, deadline, java = env._link._process.pid, time.monotonic() + SLACK, list[int]()  # type: ignore[union-attr]
            while not java:  # it has a session of its own, as MineRL's has; one that only just begins is not seen yet
                assert time.monotonic() < deadline
                java = [pid for pid in owned.marked(owned.OWNER, mark) if os.getsid(pid) == pid != server]
            with pytest.raises(MinerlDied, match="hangs"):
                env.step({})
        assert not any(owned._started(pid) for pid in java)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.skipif(not shutil.which("xvfb-run"), reason="there is no xvfb-run")
@pytest.mark.parametrize("fault", ["", "hang"])
def test_a_virtual_display_leaves_no_files_behind(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    settings = dataclasses.replace(QUICK, step_timeout=0.5)
    link = Connection(settings, screen=True)
    link.open("Fake-v0", {"fault": fault, "at": 1})
    link.ask({"op": "reset", "seed": 1}, SLACK)
    lines = [(Path("/proc") / str(pid) / "cmdline").read_text() for pid in owned.marked(owned.OWNER, link._mark)]
    (words,) = [line.split("\0") for line in lines if line.startswith("Xvfb")]
    number = words[1].removeprefix(":")
    files = [Path(f"/tmp/.X{number}-lock"), Path(f"/tmp/.X11-unix/X{number}"), Path(words[words.index("-auth") + 1])]
    assert all(file.exists() for file in files)
    if fault:
        with pytest.raises(MinerlDied, match="hangs"):
            link.ask({"op": "step", "held": [], "camera": [0, 0]}, 0.5)
    link.close()
    assert not any(file.exists() for file in files) and not files[-1].parent.exists()
    assert folders() == set()


@pytest.mark.parametrize("whom", ["session", "server"])
def test_killed_processes(whom: str) -> None:
    with MinerlEnv("Fake-v0", settings=QUICK) as env:
        mark = playing(env)
        server = env._link._process.pid  # type: ignore[union-attr]
        victims = [server] if whom == "server" else [p for p in owned.marked(owned.OWNER, mark) if p != server]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        if whom == "session":
            with pytest.raises(MinerlDied, match="process ended during"):
                env.step({})
        else:  # the env itself plays on; it is the closing that must still find it
            env.step({})
            env.close()
        assert until_gone(mark) == [] and folders() == set()


CLIENT = """
import sys, time
from vpt_pipeline.envs.minerl import MinerlEnv, MinerlSettings
env = MinerlEnv("Fake-v0", settings=MinerlSettings(python=sys.executable), fault="java", at=1)
env.reset(seed=1)
print(env._link._mark, env._link._process.pid, flush=True)
env.step({})
"""


@pytest.mark.parametrize("server_too", [False, True])
def test_a_killed_client_leaves_nothing_behind(server_too: bool) -> None:
    client = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    mark, server = client.stdout.readline().split()
    deadline = time.monotonic() + SLACK
    while (
        len(owned.marked(owned.OWNER, mark)) < 3
    ):  # server, env, Java; one that only just begins has no environment yet
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if server_too:
        os.kill(int(server), signal.SIGSTOP)  # so that it cannot put anything away
    client.kill()
    client.wait()
    client.stdout.close()
    if server_too:
        os.kill(int(server), signal.SIGKILL)
        assert owned.marked(owned.OWNER, mark)
        assert owned.end_orphans()  # what the next client does first
    assert until_gone(mark) == []
    if server_too:
        sweep_folders()
    assert not list(Path("/dev/shm").glob(f"{PREFIX}{client.pid}-*"))


def test_a_server_that_does_not_start_shows_its_last_words(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'libGL.so.1: cannot open shared object file'\nexit 3\n")
    python.chmod(0o755)
    env = MinerlEnv("Fake-v0", settings=MinerlSettings(python=str(python)))
    with pytest.raises(MinerlDied, match=r"ended with code 3\n    libGL.so.1: cannot open"):
        env.reset()
    assert folders() == set()


# ---------------------------------------------------------------- servers started by hand, on TCP
KEY = "a key of the tests, long enough"


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[MinerlSettings]:
    (tmp_path / "key").write_text(KEY + "\n")
    line = [sys.executable, str(SERVER), "--listen", "127.0.0.1:0", "--key-file", str(tmp_path / "key")]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().rpartition(":")[2].strip()
        yield dataclasses.replace(QUICK, python="", server=f"127.0.0.1:{port}", key_file=str(tmp_path / "key"))
    finally:
        server.terminate()
        server.communicate(timeout=SLACK)


def test_a_server_elsewhere_has_several_envs_and_one_that_hangs_disturbs_no_other(remote: MinerlSettings) -> None:
    with (
        MinerlEnv("Fake-v0", settings=remote) as well,
        MinerlEnv("Fake-v0", settings=remote, fault="hang", at=2) as ill,
    ):
        frame = well.reset(seed=5)[0]["pov"].copy()
        ill.reset(seed=5)
        ill.step({})
        with pytest.raises(MinerlDied, match="hangs"):
            ill.step({})
        assert not np.array_equal(well.step({})[0]["pov"], frame)
        well.close()
        assert np.array_equal(well.reset(seed=5)[0]["pov"], frame)


def address(settings: MinerlSettings) -> tuple[str, int]:
    host, _, port = settings.server.rpartition(":")
    return host, int(port)


def test_a_client_without_the_key_gets_nothing(remote: MinerlSettings, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("another key of about that length")
    env = MinerlEnv("Fake-v0", settings=dataclasses.replace(remote, key_file=str(tmp_path / "wrong")))
    with pytest.raises(MinerlDied, match="refused this client: wrong key"):
        env.reset()
    opening = wire._HEAD.pack(wire.MAGIC, 20, 0) + b'{"op":"open","x":"y"}'
    huge = wire._HEAD.pack(wire.MAGIC, 2**31, 2**31)
    for first_words in (b"", b"GET / HTTP/1.1\r\n\r\n" * 9, opening, huge, b"\x80\x04\x95pickle" * 20):
        with socket.create_connection(address(remote), timeout=SLACK) as stranger:
            hello, _ = wire.Channel(stranger).receive(SLACK)
            assert set(hello) == {"server", "version", "nonce"}
            with contextlib.suppress(OSError):
                stranger.sendall(first_words)
                if not first_words:
                    stranger.shutdown(socket.SHUT_WR)
            stranger.settimeout(SLACK)
            rest = b""
            with contextlib.suppress(ConnectionResetError):
                while part := stranger.recv(4096):
                    rest += part
            assert b"facts" not in rest and b"proof" not in rest
    MinerlEnv("Fake-v0", settings=remote).reset()  # and who has it is still served


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (
            {"server": "vpt minerl", "version": 99, "nonce": "0"},
            "speaks version 99, this client version 1: copy the folder",
        ),
        ({"server": "vpt minerl", "version": wire.VERSION, "nonce": "0"}, "does not know the key"),
        ({"welcome": "to the mail server"}, "expected a MineRL env server, found"),
        (b"220 mail ESMTP ready\r\n", "expected a message that begins with"),
    ],
)
def test_what_is_no_server_of_ours_is_named(hello: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)

    def answer() -> None:
        link, _ = listener.accept()
        with link, contextlib.suppress(wire.WireError, OSError):
            if isinstance(hello, bytes):
                link.sendall(hello)
                link.recv(1)
            else:
                channel = wire.Channel(link)
                channel.send(hello)
                channel.receive(SLACK)
                channel.send({"proof": "0" * 64})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        there = f"127.0.0.1:{listener.getsockname()[1]}"
        env = MinerlEnv("Fake-v0", settings=MinerlSettings(server=there, key_file=str(tmp_path / "key")))
        with pytest.raises(MinerlDied, match=said):
            env.reset()


def test_a_machine_that_is_gone_is_noticed_within_minutes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as link:
        wire.Channel(link)
        idle, pause, times = (link.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in wire.KEEPALIVE)
        assert idle + pause * times <= 180 and link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_half_a_message_does_not_outwait_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    stop = threading.Event()

    def trickle() -> None:
        head = wire._HEAD.pack(wire.MAGIC, 10_000, 0)
        with contextlib.suppress(OSError):
            for byte in head + b"x" * 10_000:
                if stop.is_set():
                    return
                theirs.send(bytes([byte]))
                time.sleep(0.05)

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    begun = time.monotonic()
    with pytest.raises(wire.WireTimeoutError, match=r"no answer within 0.5 s"):
        wire.Channel(ours).receive(0.5)
    assert 0.4 < time.monotonic() - begun < SLACK
    stop.set()
    thread.join()
    ours.close()
    theirs.close()
