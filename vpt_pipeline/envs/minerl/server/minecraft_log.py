"""What Minecraft prints: read all the time, and only its last words kept, for when something goes wrong.

MineRL reads Minecraft's output until it is ready, and then leaves it to a thread that on a busy machine ends before it has
begun (env/malmo.py starts it before it sets ``running``): nobody reads, and Java stands still once the pipe is full. Where that
thread lives, it writes a file without end, for Java prints every statistic at every observation. So the output is read
here, and MineRL's thread is told that there is no more.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import threading
from pathlib import Path
from typing import Any

FOLDER = "MALMO_MINECRAFT_OUTPUT_LOGDIR"
"""Environment variable: where the last words are written, too; nowhere without it."""
FILES = "minecraft-*.log"
LINES, LONGEST = 200, 500
"""How many lines are kept, and how many bytes of each."""
MOST = 2 * LINES * LONGEST
"""The file is written anew before it is longer."""
READY = b"CLIENT enter state: DORMANT"
"""The last line that MineRL waits for."""
_STATISTIC = re.compile(
    rb"(?:^|[\s:])(?:custom|mine_block|craft_item|use_item|break_item|pickup|drop|kill_entity|entity_killed_by)\.\w+\s*$"
)
_latest: LastWords | None = None


class LastWords:
    """Stands in the place of the pipe from Minecraft. file: where its last words go, too."""

    def __init__(self, pipe: Any, file: Path | None = None) -> None:
        self._pipe, self._file, self._ready = pipe, file, False
        self._lines: collections.deque[bytes] = collections.deque(maxlen=LINES)
        self._written = MOST  # the first line begins the file

    def readline(self) -> bytes:
        """For MineRL: the next line until Minecraft is ready, then none."""
        if self._ready:
            return b""
        line: bytes = self._pipe.readline()
        self._keep(line)
        if READY in line:
            self._ready = True
            threading.Thread(target=self._drain, daemon=True).start()
        return line

    def last(self, lines: int = LINES) -> str:
        """Its last lines, but for statistics."""
        return b"".join(list(self._lines)[-lines:]).decode(errors="replace")

    def _drain(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed under our hands
            while True:
                line = self._pipe.readline(1 << 16)
                if not line:
                    break
                self._keep(line)

    def _keep(self, line: bytes) -> None:
        if not line.strip() or _STATISTIC.search(line):
            return
        line = line.rstrip()[:LONGEST] + b"\n"
        self._lines.append(line)
        if self._file is None:
            return
        anew = self._written + len(line) > MOST
        try:
            with self._file.open("wb" if anew else "ab") as stream:
                self._written = stream.write(b"".join(self._lines) if anew else line) + (0 if anew else self._written)
        except OSError:
            self._file = None  # its folder is gone: the client has left


def last_words(lines: int = 12) -> str:
    """Of the Minecraft that was started last in this process; empty if none was."""
    return "" if _latest is None else _latest.last(lines)


def mend(malmo: Any) -> None:
    """Have the output of every Minecraft that MineRL's module starts from now on read as said above."""
    launch = malmo.MinecraftInstance._launch_minecraft
    if hasattr(launch, "mended"):
        return

    def launched(self: Any, *args: Any, **more: Any) -> Any:
        global _latest
        process = launch(self, *args, **more)
        folder = os.environ.get(FOLDER)
        file = None if not folder else Path(folder) / FILES.replace("*", str(os.getpid()))
        process.stdout = _latest = LastWords(process.stdout, file)
        return process

    launched.mended = True  # type: ignore[attr-defined]
    malmo.MinecraftInstance._launch_minecraft = launched
