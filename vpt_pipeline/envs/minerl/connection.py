"""A server and the connection of one env to it: started by us, or somewhere else; every request has a deadline.

A server that we started ends with us, however we end: it follows its standard input, and what should outlive it carries
our mark and is killed by the next client at the latest (server/owned.py).
"""

from __future__ import annotations

import contextlib
import mmap
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vpt_pipeline.envs.minerl.server import owned, wire
from vpt_pipeline.envs.minerl.server.minecraft_log import FILES
from vpt_pipeline.envs.minerl.settings import MinerlSettings, command, environment

LOG_LINES = 12
DISPLAY_SECONDS = 5.0
"""What a virtual display has to put its things away."""
PREFIX = owned.FOLDER
_SHARED_MEMORY = Path("/dev/shm")


class MinerlDied(RuntimeError):  # noqa: N818 - named as GameDied of the other games
    """The game did not answer, died, or said nonsense; its processes are gone. ``reset`` starts a new one."""


class Connection:
    """One env at a server. Raises MinerlDied where anything is wrong, after it has ended everything of the env.

    screen: whether the env needs an X server.
    """

    def __init__(self, settings: MinerlSettings, screen: bool = True) -> None:
        self._settings, self._screen = settings, screen
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._display = False
        self._mark = owned.new_mark()
        self._name = PREFIX + self._mark.replace(".", "-")
        self._frames: NDArray[np.uint8] | None = None
        self._channel: wire.Channel | None = None
        self.memory = 0
        try:
            self._channel = self._join(self._start() if not settings.server else self._call)
        except BaseException:
            self.kill()
            raise

    # ------------------------------------------------------------ starting
    def _start(self) -> Any:
        owned.end_orphans()
        sweep_folders()
        key = secrets.token_hex(32)
        place = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
        self._folder = folder = Path(tempfile.mkdtemp(prefix=f"{self._name}-", dir=place))
        there = folder / "socket"
        line = command(self._settings, ["--socket", str(there), "--follow-stdin"], folder, self._name, self._screen)
        self._display = Path(line[0]).name == "xvfb-run"
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                line, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, start_new_session=True,
                env=environment(self._settings, self._mark, folder),
            )  # fmt: skip
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # ended already: said below, with its log
            self._process.stdin.write(key.encode() + b"\n")
            self._process.stdin.flush()

        def connect() -> tuple[socket.socket, bytes]:
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(str(there))
            except OSError:
                link.close()
                raise
            return link, key.encode()

        return connect

    def _call(self) -> tuple[socket.socket, bytes]:
        host, _, port = self._settings.server.rpartition(":")
        if not port.isdigit():
            raise ValueError(f"VPT_MINERL_SERVER is {self._settings.server!r}; expected HOST:PORT")
        if not self._settings.key_file:
            raise ValueError(
                "VPT_MINERL_SERVER needs VPT_MINERL_KEY_FILE: the file with the key that the server was given"
            )
        key = Path(self._settings.key_file).read_text().strip().encode()
        return socket.create_connection((host or "127.0.0.1", int(port)), timeout=10), key

    def _join(self, connect: Any) -> wire.Channel:
        deadline = time.monotonic() + (self._settings.start_timeout if self._process is not None else 10)
        while True:
            try:
                link, key = connect()
                break
            except OSError as error:
                if self._process is not None and self._process.poll() is not None:
                    code = self._process.returncode
                    raise MinerlDied(
                        f"the env server ({self._settings.where}) ended with code {code}{self._log()}"
                    ) from None
                if time.monotonic() > deadline:
                    raise MinerlDied(
                        f"the env server ({self._settings.where}) cannot be reached: {error}{self._log()}"
                    ) from None
                time.sleep(0.02)
        channel = wire.Channel(link)
        try:
            wire.join(channel, key, max(1.0, deadline - time.monotonic()))
        except wire.WireError as error:
            channel.close()
            raise MinerlDied(f"the env server ({self._settings.where}): {error}") from None
        return channel

    def open(self, name: str, choices: dict[str, Any]) -> dict[str, Any]:
        """Its facts. Raises ValueError for what MineRL does not have."""
        request: dict[str, Any] = {"op": "open", "name": name, "choices": choices}
        path = None if self._folder is None else self._folder / "frames"
        if path is not None:
            path.touch()
            request["frames"] = str(path)
        facts: dict[str, Any] = self.ask(request, self._settings.start_timeout)[0]["facts"]
        if path is not None:
            width, height = facts["resolution"]
            with path.open("r+b") as stream:
                view = mmap.mmap(stream.fileno(), width * height * 3)
            self._frames = np.frombuffer(view, np.uint8).reshape(height, width, 3)
        self._shape = (facts["resolution"][1], facts["resolution"][0], 3)
        return facts

    # ------------------------------------------------------------ talking
    def ask(self, request: dict[str, Any], timeout: float) -> tuple[dict[str, Any], bytearray]:
        """The answer to a request, and the bytes with it."""
        if self._channel is None:
            raise MinerlDied("the env is closed")
        what = request["op"]
        try:
            self._channel.send(request, timeout=timeout)
            answer, raw = self._channel.receive(timeout)
        except wire.WireTimeoutError:
            raise self._died(f"the env hangs: no answer to {what} within {timeout:g} s") from None
        except wire.WireClosedError:
            raise self._died(f"the env's process ended during {what}") from None
        except wire.WireError as error:
            raise self._died(f"the env server said nonsense during {what}: {error}") from None
        except BaseException:  # Ctrl-C or the like: the answer that may still come would be taken for another's
            self.kill()
            raise
        self.memory = int(answer.get("memory") or 0)
        if "error" in answer:
            if answer.get("kind") == "ValueError" and what == "open":
                self.kill()
                raise ValueError(answer["error"])
            raise self._died(f"{what} failed: {answer['error']}", str(answer.get("minecraft") or ""))
        if self.memory > self._settings.memory_limit:
            used, limit = self.memory / 2**30, self._settings.memory_limit / 2**30
            raise self._died(f"the env's memory grew to {used:.2f} GiB, over the limit of {limit:.2f} GiB")
        return answer, raw

    def frame(self, raw: bytearray) -> NDArray[np.uint8]:
        """The picture of the last answer, uint8 (H, W, 3), the caller's own."""
        if self._frames is not None:
            return self._frames.copy()
        size = self._shape[0] * self._shape[1] * self._shape[2]
        if len(raw) != size:
            raise self._died(f"the env server said nonsense: a picture of {len(raw)} bytes, expected {size}")
        return np.frombuffer(raw, np.uint8).reshape(self._shape)

    # ------------------------------------------------------------ ending
    def close(self) -> None:
        """Let the env put its things away, then end whatever is left."""
        try:
            if self._channel is not None:
                with contextlib.suppress(wire.WireError):
                    self._channel.send({"op": "close"}, timeout=5)
                    self._channel.receive(self._settings.close_timeout)
        finally:
            self.kill()

    def _died(self, why: str, minecraft: str = "") -> MinerlDied:
        log = self._log() + told(minecraft or self._minecraft(), why)
        self.kill()
        return MinerlDied(f"{why} ({self._settings.where}){log}")

    def kill(self) -> None:
        """End everything of this env at once; never raises."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        process, self._process = self._process, None
        if process is not None:
            if self._settings.container:  # its processes are beyond our reach
                quiet = subprocess.DEVNULL
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    subprocess.run([self._settings.engine, "kill", self._name], stdout=quiet, stderr=quiet, timeout=30)
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            if self._display:
                self._await_end()
            process.kill()
            owned.end_marked(owned.OWNER, self._mark)
            process.wait()
        self._frames = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _await_end(self) -> None:
        """The server ends with its stdin, and its envs at once; then xvfb-run ends Xvfb, and both remove their files, which
        nobody would if they were killed."""
        deadline = time.monotonic() + DISPLAY_SECONDS
        while owned.marked(owned.OWNER, self._mark) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _log(self) -> str:
        """The server's last words, if it has a log here."""
        if self._folder is None:
            return ""
        return _indented((self._folder / "log").read_text(errors="replace"))

    def _minecraft(self) -> str:
        """Minecraft's last words, if they were written here."""
        files = [] if self._folder is None else sorted(self._folder.glob(FILES))
        return "".join(file.read_text(errors="replace") for file in files)


def told(minecraft: str, why: str) -> str:
    """Minecraft's last words as an error's last lines, but for what the error says already."""
    more = "\n".join(line for line in minecraft.splitlines() if line not in why)
    return f"\n  Minecraft's last words:{_indented(more)}" if more else ""


def _indented(text: str) -> str:
    return "".join(f"\n    {line}" for line in text.strip().splitlines()[-LOG_LINES:])


def sweep_folders() -> None:
    """Remove folders of clients that are gone."""
    for place in {_SHARED_MEMORY, Path(tempfile.gettempdir())}:
        for folder in place.glob(f"{PREFIX}*"):
            if not owned.has_owner(folder.name.removeprefix(PREFIX).replace("-", ".")):
                shutil.rmtree(folder, ignore_errors=True)
