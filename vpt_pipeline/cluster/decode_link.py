"""The worker's end of a decoding process: starts it, asks it, and says how it died if it does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vpt_pipeline.cluster.wire import Arrays, receive, send

Event = tuple[str, dict[str, Any], Arrays]

GRACE_S = 20.0
"""A process that stands still ends itself; one that cannot even do that is killed this much later."""
STARTING_S = 120.0


class DecoderDiedError(Exception):
    """A decoding process ended in the middle of its work; the message says how, and where it was."""


@dataclass(frozen=True)
class DecodeSettings:
    """patience_s: how long a decoder may stand still. memory_bytes: what it may allocate. scratch: folder of local copies
    of remote files, bounded by scratch_bytes. tasks: after so many it is replaced, against leaks."""

    patience_s: float = 120.0
    memory_bytes: int = 4 << 30
    scratch: str = ""
    scratch_bytes: int = 50 << 30
    tasks: int = 200

    def scratch_folder(self) -> str:
        return self.scratch or str(Path(tempfile.gettempdir()) / f"vpt-scratch-{os.getuid()}")


class DecodeProcess:
    """One process. Used for one video after another; not from two threads at once."""

    def __init__(self, settings: DecodeSettings) -> None:
        self.settings, self._left = settings, settings.tasks
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        try:
            command = [sys.executable, "-m", "vpt_pipeline.cluster.decode_process", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                env=_environment(),
            )
        finally:
            theirs.close()
        self._pipe = Connection(ours.detach())
        send(
            self._pipe,
            "settings",
            {
                "memory_bytes": settings.memory_bytes,
                "scratch": settings.scratch_folder(),
                "scratch_bytes": settings.scratch_bytes,
                "patience_s": settings.patience_s,
            },
        )
        self._ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def used_up(self) -> bool:
        """Whether another process should take over: it has done its share, had an error, or is dead."""
        return self._left <= 0 or self._process.poll() is not None

    def ask(self, asked: dict[str, Any], arrays: Arrays | None = None) -> Iterator[Event]:
        """What it says, message by message, up to "end", "irregular" or "error". Raises DecoderDiedError.

        If the caller stops before the end, the process cannot be used again.
        """
        self._left -= 1
        finished = False
        try:
            send(self._pipe, "decode", asked, arrays)
            while not finished:
                wait = self.settings.patience_s + GRACE_S + (0 if self._ready else STARTING_S)
                if not self._pipe.poll(wait):
                    self._process.kill()
                    raise DecoderDiedError(f"it stood still for {wait:.0f} s and could not be ended otherwise")
                event = receive(self._pipe)
                self._ready = True
                finished = event[0] in ("end", "irregular", "error")
                if event[0] == "error":
                    self._left = 0
                yield event
        except (EOFError, OSError, ValueError) as error:
            self._process.kill() if isinstance(error, ValueError) else None
            raise DecoderDiedError(self._how_it_ended()) from error
        finally:
            if not finished:
                self.close()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(self._said.tell() - 4000, 0))
        said = self._said.read().decode(errors="replace")
        if re.search(r"^Timeout \(", said, re.MULTILINE):
            return f"its decoder stood still for {self.settings.patience_s:g} s, {_place(said)}"
        if code < 0:
            return f"its decoder crashed ({signal.Signals(-code).name}), {_place(said)}"
        return f"its decoding process ended with code {code}: {said.strip().splitlines()[-1:] or ['it said nothing']}"

    def close(self) -> None:
        """End the process; safe at any time."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._left = 0
        self._said.close()


def _place(said: str) -> str:
    """The innermost line of the traceback that faulthandler left."""
    found = re.search(r'File "([^"]+)", line (\d+) in (\w+)', said)
    return f"in {found[3]} ({Path(found[1]).name}:{found[2]})" if found else "in its decoder"


def _environment() -> dict[str, str]:
    """Ours, with this package importable wherever the worker found it, and libraries on one core."""
    path = [p for p in sys.path if p]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
