"""One game process in lock-step: start it, advance it frame by frame, read what it tells, end it."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vpt_pipeline.envs.luanti import settings
from vpt_pipeline.envs.luanti.children import game_environment, spawn
from vpt_pipeline.envs.luanti.display import Display
from vpt_pipeline.envs.luanti.shim import GAME, can_fix_addresses, shim_library

# The layouts and numbers of lockstep_frame.c
_COMMAND, _EVENT, _REPLY = struct.Struct("<IIiiI"), struct.Struct("<II"), struct.Struct("<IIIIiiqdd")
_STEP, _QUIT, _LET_GO = 1, 2, 3
_KEY, _BUTTON = 0, 2  # released; one more for pressed
_TRUTH_LIMIT = 1 << 20
_LOG_LINES = 15

Key = tuple[int, int]  # (_KEY, keysym) or (_BUTTON, number)
KEYS: Mapping[str, Key] = {
    **{name: (_KEY, symbol) for name, symbol in settings.KEYSYMS.items()},
    **{name: (_BUTTON, number) for name, number in settings.MOUSE_BUTTONS.items()},
}
ESCAPE: Key = (_KEY, settings.ESCAPE_KEYSYM)


class GameDied(RuntimeError):  # noqa: N818 - the name that says it best
    """The game ended or no longer answers; the message carries the last lines of its log."""


@dataclass(frozen=True)
class Frame:
    """What the shim reports at a frame boundary (the pixels lie in ``Game.pixels``)."""

    gui_open: bool
    pointer: tuple[int, int]  # pixels
    clock_s: float  # virtual seconds since the game's start
    settle_s: float  # real seconds spent so far waiting for threads, and for the server
    server_s: float


class Game:
    """A running game.

    pixels: uint8 (H, W, 3) RGB, the last frame; overwritten by the next step.
    frame: the last frame's report.  truth: the newest truth line of the bridge ({} until a player is in the world).
    events, answers: what the bridge said since they were last cleared.
    """

    def __init__(
        self,
        run: Path,
        world: Path,
        home: Path,
        size: tuple[int, int],
        conf: str,
        timeout: float,
        player: str = "player",
    ) -> None:
        self.run, self.world, self.size, self.timeout = run, world, size, timeout
        self.truth: dict[str, Any] = {}
        self.truths = 0
        self.events: list[dict[str, Any]] = []
        self.answers: dict[int, tuple[bool, Any]] = {}
        self._held: frozenset[Key] = frozenset()
        self._next_id = 0
        self._tail = b""
        self._cleanup = contextlib.ExitStack()
        try:
            self._start(home, conf, player)
            self.frame = self._receive()
        except BaseException:
            self.close()
            raise

    def _start(self, home: Path, conf: str, player: str) -> None:
        keep = self._cleanup
        (self.run / "minetest.conf").write_text(conf)
        for name in ("truth.jsonl", "requests.jsonl"):
            (self.world / name).write_bytes(b"")
        self._truth_file = keep.enter_context((self.world / "truth.jsonl").open("rb", buffering=0))
        self._requests = keep.enter_context((self.world / "requests.jsonl").open("ab", buffering=0))
        width, height = self.size
        with (self.run / "frame").open("w+b") as file:
            file.truncate(width * height * 3)
            self._map = mmap.mmap(file.fileno(), 0)
        self.pixels: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8).reshape(height, width, 3)
        display = Display(self.size)
        keep.callback(display.close)
        commands, self._commands = os.pipe()
        self._replies, replies = os.pipe()
        for end in (self._commands, self._replies):
            keep.callback(os.close, end)
        environment = game_environment(
            display.name,
            home,
            LD_PRELOAD=str(shim_library()),
            LOCKSTEP_COMMANDS=str(commands),
            LOCKSTEP_REPLIES=str(replies),
            LOCKSTEP_FRAME=str(self.run / "frame"),
        )
        # LD_PRELOAD is for the game alone: `env` sets it after the helpers have run
        fixed = ["setarch", "-R"] if can_fix_addresses() else []
        command = [*fixed, "env", "-i", *(f"{name}={value}" for name, value in environment.items()), str(GAME)]
        command += ["--config", str(self.run / "minetest.conf"), "--logfile", str(self.run / "debug.txt"), "--go"]
        command += ["--world", str(self.world), "--gameid", "minetest", "--name", player, "--port", str(_free_port())]
        with (self.run / "log.txt").open("wb") as log:
            self.process = spawn(command, pass_fds=(commands, replies), stdout=log, stderr=log, cwd=self.run)
        keep.callback(self._end)
        os.close(commands)
        os.close(replies)
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)

    # ------------------------------------------------------------ stepping
    def step(
        self, keys: Iterable[Key] = (), move: tuple[int, int] = (0, 0), seconds: float = settings.TICK_SECONDS
    ) -> Frame:
        """Advance one frame with these keys held and the mouse moved by (dx, dy) counts. Raises GameDied."""
        held = frozenset(keys)
        changes = [(kind, code) for kind, code in sorted(self._held - held)]
        changes += [(kind + 1, code) for kind, code in sorted(held - self._held)]
        self._held = held
        self._send(_STEP, round(seconds * 1e6), move, changes)
        self.frame = self._receive()
        self._read_truth()
        return self.frame

    def _send(
        self, operation: int, advance_us: int = 0, move: tuple[int, int] = (0, 0), changes: Iterable[Key] = ()
    ) -> None:
        events = [_EVENT.pack(*change) for change in changes]
        message = _COMMAND.pack(operation, advance_us, *move, len(events)) + b"".join(events)
        try:
            os.write(self._commands, message)
        except OSError as error:
            raise self._died("has ended") from error

    def _receive(self) -> Frame:
        deadline = time.monotonic() + self.timeout
        data = b""
        while len(data) < _REPLY.size:
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise self._died(f"has not answered for {self.timeout:g} s")
            part = os.read(self._replies, _REPLY.size - len(data))
            if not part:
                raise self._died("has ended")
            data += part
        width, height, _, gui_open, x, y, clock_us, settle_s, server_s = _REPLY.unpack(data)
        if (width, height) != self.size:
            raise self._died(f"opened a window of {width}x{height} instead of {self.size[0]}x{self.size[1]}")
        return Frame(bool(gui_open), (x, y), clock_us / 1e6, settle_s, server_s)

    def _died(self, what: str) -> GameDied:
        lines = self.log_lines()
        code = self.process.poll()
        ended = f" (exit status {code})" if code is not None else ""
        return GameDied(f"Luanti {what}{ended}; reset() starts it anew. Last lines of its log:\n" + "\n".join(lines))

    def log_lines(self) -> list[str]:
        """The last lines that the game wrote."""
        try:
            return (self.run / "log.txt").read_text(errors="replace").splitlines()[-_LOG_LINES:]
        except OSError:
            return ["(the log is gone)"]

    # ------------------------------------------------------------ the bridge
    def _read_truth(self) -> None:
        text = self._truth_file.read()
        if not text:
            return
        *lines, self._tail = (self._tail + text).split(b"\n")
        for line in lines:
            self.truth = json.loads(line)
            self.truths += 1
            self.events += self.truth["events"] or []
            for request, ok, *result in self.truth["answers"] or ():
                self.answers[request] = (ok, result[0] if result else None)
        if not self._tail and self._truth_file.tell() > _TRUTH_LIMIT:  # the bridge appends, so the file may start over
            os.truncate(self.world / "truth.jsonl", 0)
            self._truth_file.seek(0)

    def request(self, op: str, **arguments: Any) -> int:
        """Leave a request for the next step's server round; its answer appears in ``answers`` under the returned id."""
        self._next_id += 1
        line = json.dumps({"op": op, "id": self._next_id, **arguments})
        self._requests.write(line.encode() + b"\n")
        return self._next_id

    def call(self, op: str, patience: int = 10, **arguments: Any) -> Any:
        """Send a request and step until it is answered. Raises GameDied, or RuntimeError with the bridge's message."""
        number = self.request(op, **arguments)
        for _ in range(patience):
            self.step()
            if number in self.answers:
                ok, result = self.answers.pop(number)
                if not ok:
                    raise RuntimeError(f"the bridge could not do {op} {arguments}: {result}")
                return result
        raise self._died(f"did not answer the request {op!r} within {patience} steps")

    # ------------------------------------------------------------ the end
    def save_and_quit(self, timeout: float = 60.0) -> None:
        """Let the clock run freely and the game save its world and exit by itself."""
        self.request("shut_down")
        self._send(_LET_GO)
        self.process.wait(timeout)
        self.close()

    def _end(self) -> None:
        with contextlib.suppress(GameDied):
            self._send(_QUIT)
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the game and its display at once, without saving. May be called twice."""
        self._cleanup.close()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
